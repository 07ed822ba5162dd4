"""Where services can run. Each target is a module with one shape: `deploy(workspace, stack, images) -> Deployed`."""

from __future__ import annotations

from infra.targets import docker

TARGETS = {"docker": docker}
