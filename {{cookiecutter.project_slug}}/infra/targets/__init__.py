"""Where services can run: each target is a module with `deploy(workspace, stack, images, secrets) -> Deployed`."""

from __future__ import annotations

from infra.targets import docker

TARGETS = {"docker": docker}
