"""A stack on a Docker engine."""
