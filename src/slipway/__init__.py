"""Slipway: builds and launches this workspace's containers. Owned by the template: an update replaces it whole."""

import os

__version__ = "0.2.0"

# Set before anything uses gRPC. Else it stands in the way of programs that are started by a fork, as on macOS: `ssh`,
# whose connection to an engine on another machine then ends without an answer.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
