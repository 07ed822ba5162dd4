"""Builds images, and makes sure of all that building needs: bases, tools, the builder."""
