"""Retention: what goes from registries and from this machine, and what stays."""
