"""Deploys, rolls back, promotes, switches modes, and says what runs."""
