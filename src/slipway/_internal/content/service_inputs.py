"""The inputs that decide a service's image, gathered from the workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slipway._internal.content.digest import BuildInputs
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.content.frontend import lock_name, served_version
from slipway._internal.content.stat_cache import StatCache
from slipway._internal.model import bases_lock as locks
from slipway._internal.model.workspace import Service, Workspace


def base_argument(base: str) -> str:
    """Return the build argument that names a base: `python-build` is `PYTHON_BUILD`."""
    return base.upper().replace("-", "_")


def build_inputs_of(
    workspace: Workspace, service: Service, bases: Mapping[str, str], stat_cache: StatCache | None = None
) -> BuildInputs:
    """Return what decides the service's image; of the bases, those that its Dockerfile has as arguments or frontend.

    The Dockerfile is read here; what `stat_cache` takes down of it is from before that.
    """
    if stat_cache:
        stat_cache.record_path(service.dockerfile)
    parsed = read_dockerfile(service.dockerfile)
    return BuildInputs(
        dockerfile=service.dockerfile,
        context=service.folder,
        contexts={lib: workspace.lib(lib) for lib in service.settings.libs},
        target=service.settings.target,
        platforms=workspace.settings.build.platforms,
        args=service.settings.args,
        bases={base_argument(base): ref for base, ref in bases.items() if base_argument(base) in parsed.arguments},
        frontend=bases.get(lock_name(served_version(parsed.syntax)), ""),
        parsed=parsed,
    )


def build_inputs_by_service(
    workspace: Workspace, services: Iterable[Service], stat_cache: StatCache | None = None
) -> dict[str, BuildInputs]:
    """Return what decides each service's image, from the bases that are locked, by the service's name.

    Services that run an image of somebody else's are left out.

    Each Dockerfile is read once, here; a `stat_cache` that the content digest is then asked with has to be given.

    Raises:
        EvidenceError: the bases are not resolved yet.
    """
    locked = locks.load(workspace.root).bases
    return {
        service.name: build_inputs_of(workspace, service, locked, stat_cache)
        for service in services
        if service.is_built
    }
