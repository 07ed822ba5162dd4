"""The files that BuildKit is sent for a service's image, and their digest."""
