"""A stack on a Kubernetes cluster."""
