"""A small Pulumi provider for the Docker engine: network, containers, gateway, and the record of releases."""
