"""Starts a new container, waits until it is healthy, switches the gateway, and drains the old container."""
