"""Retention: removes what nothing needs from registries and this machine."""
