"""Adopts what exists as services: a folder with or without a Dockerfile, a git repository, a Compose file."""
