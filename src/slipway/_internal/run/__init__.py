"""The doors to the outside: processes, registry, Docker engine, Pulumi."""
