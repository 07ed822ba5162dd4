"""What BuildKit would be sent, and its digest."""
