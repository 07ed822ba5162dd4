"""Builds images, and ensures what building needs: bases, tools, the builder."""
