"""Creates services, and brings newer templates into a workspace."""
