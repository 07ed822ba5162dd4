"""A plain Pulumi program of one docker-build Image for each service of a tree, as a user would write it.

`python images.py WORKSPACE REGISTRY STATE` brings it up by the Automation API and prints what changed.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
from pulumi import automation


def main() -> None:
    """Bring up the stack `dev` with the state in a folder."""
    workspace, registry, state = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    stack = automation.create_or_select_stack(
        "dev",
        "images",
        lambda: program(workspace, registry),
        opts=automation.LocalWorkspaceOptions(
            env_vars={"PULUMI_CONFIG_PASSPHRASE": "bench", "PULUMI_SKIP_UPDATE_CHECK": "true"},
            project_settings=automation.ProjectSettings(
                "images", "python", backend=automation.ProjectBackend(f"file://{state}")
            ),
        ),
    )
    print(stack.up().summary.resource_changes)


def program(workspace: Path, registry: str) -> None:
    """Declare the images."""
    for folder in sorted((workspace / "services").glob("*/")):
        libs = tomllib.loads((folder / "service.toml").read_text(encoding="utf-8")).get("libs", [])
        image = docker_build.Image(
            folder.name,
            context=docker_build.BuildContextArgs(
                location=str(folder),
                named={lib: docker_build.ContextArgs(location=str(workspace / "libs" / lib)) for lib in libs},
            ),
            dockerfile=docker_build.DockerfileArgs(location=str(folder / "Dockerfile")),
            target="run",
            platforms=[docker_build.Platform.LINUX_AMD64],
            tags=[f"{registry}/raw/{folder.name}:latest"],
            push=True,
            build_on_preview=False,
            builder=docker_build.BuilderConfigArgs(name="slipway"),
        )
        pulumi.export(folder.name, image.ref)


if __name__ == "__main__":
    main()
