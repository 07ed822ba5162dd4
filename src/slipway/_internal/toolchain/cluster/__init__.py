"""A single-node Kubernetes on this machine, to try things on: components, certificates, network, teardown."""
