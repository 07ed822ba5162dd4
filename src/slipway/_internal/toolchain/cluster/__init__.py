"""A single-node Kubernetes on this machine, to try things on: its parts, certificates, network, and its end."""
