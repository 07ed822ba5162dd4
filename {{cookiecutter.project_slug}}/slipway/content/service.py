"""Which inputs decide a service's image, gathered from the workspace."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.content.digest import BuildInputs
from slipway.content.dockerfile import read as read_dockerfile
from slipway.model.workspace import Service, Workspace


def argument_of(base: str) -> str:
    """Return the build argument that names a base: `python-build` is `PYTHON_BUILD`."""
    return base.upper().replace("-", "_")


def inputs_of(workspace: Workspace, service: Service, bases: Mapping[str, str]) -> BuildInputs:
    """Return what decides the service's image; of the bases, those that its Dockerfile declares as arguments."""
    declared = read_dockerfile(service.dockerfile).arguments
    return BuildInputs(
        dockerfile=service.dockerfile,
        context=service.folder,
        contexts={lib: workspace.lib(lib) for lib in service.settings.libs},
        target=service.settings.target,
        platforms=workspace.settings.build.platforms,
        args=service.settings.args,
        bases={argument_of(base): ref for base, ref in bases.items() if argument_of(base) in declared},
    )
