"""Slipway: builds and launches this workspace's containers. Owned by the template: an update replaces it whole."""

__version__ = "0.1.0"
