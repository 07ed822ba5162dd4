"""What BuildKit would be sent for a service's image, and the digest of it."""
