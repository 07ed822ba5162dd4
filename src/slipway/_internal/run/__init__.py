"""Clients to the outside: processes, registry, Docker engine, Pulumi, Kubernetes."""
