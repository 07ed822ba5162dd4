"""Loads a workspace's own Python in infra/: by its path, once, and with errors that name the team's file and line."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from slipway._internal.model.errors import ConfigError, SlipwayError

PACKAGE = "infra"
"""What a workspace's Python calls itself, wherever it is: `from infra.images import images_of`."""


def load_infra(root: Path, name: str) -> ModuleType:
    """Return a module of a workspace's infra/: `__main__`, `policy.__main__`. It is run once in a process.

    Raises:
        ConfigError: it is not there, or cannot be imported; the file and the line are named.
    """
    with team_errors(root):
        _enter_package(root)
        try:
            return importlib.import_module(f"{PACKAGE}.{name}")
        except ModuleNotFoundError as error:
            if f"{PACKAGE}.{name}.".startswith(f"{error.name}."):
                raise ConfigError(
                    f"{root / PACKAGE / Path(*name.split('.'))}.py is missing", remedy="Restore it from git."
                ) from error
            raise


def load_infra_module(root: Path, file: Path) -> ModuleType:
    """Return the module that a file of a workspace's infra/ is; its name may be no word of Python's, as `my-target`.

    Raises:
        ConfigError: it cannot be imported; the file and the line are named.
    """
    with team_errors(root):
        _enter_package(root)
        name = ".".join((PACKAGE, *file.relative_to(root / PACKAGE).with_suffix("").parts))
        if name in sys.modules:
            return sys.modules[name]
        spec = spec_from_file_location(name, file.resolve())
        assert spec and spec.loader
        module = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def find_function(module: ModuleType, name: str, file: Path) -> Callable[..., Any]:
    """Return a module's function.

    Raises:
        ConfigError: it has none of that name.
    """
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{file} has no function `{name}`", remedy=f"Add it: Slipway calls `{name}`.")
    return function  # type: ignore[no-any-return]


@contextmanager
def team_errors(root: Path) -> Iterator[None]:
    """Raise ConfigError, naming file and line, for what a workspace's own Python in infra/ does wrong."""
    from pulumi import RunError

    try:
        yield
    except (SlipwayError, RunError):
        raise
    except Exception as error:
        where = _team_line(root, error)
        if where is None:
            raise
        raise ConfigError(
            f"{where}: {type(error).__name__}: {error}",
            remedy="Mend that line. What Slipway offers infra/ is in slipway.pulumi and slipway.policy.",
        ) from error


def _team_line(root: Path, error: Exception) -> str | None:
    """Return the last file and line of infra/ that an error went through; None where it is not the team's."""
    folder = root.resolve() / PACKAGE
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(folder):
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _enter_package(root: Path) -> None:
    """Make `infra` the package of this workspace; another workspace's is forgotten."""
    folder = root.resolve() / PACKAGE
    loaded = sys.modules.get(PACKAGE)
    if loaded is not None and str(folder) in getattr(loaded, "__path__", ()):
        return
    for name in [name for name in [*sys.modules] if name.partition(".")[0] == PACKAGE]:  # other threads import, too
        del sys.modules[name]
    file = folder / "__init__.py"
    spec = (
        spec_from_file_location(PACKAGE, file, submodule_search_locations=[str(folder)])
        if file.is_file()
        else ModuleSpec(PACKAGE, None, is_package=True)
    )
    assert spec
    if spec.loader is None:
        spec.submodule_search_locations = [str(folder)]
    module = sys.modules[PACKAGE] = module_from_spec(spec)
    if spec.loader:
        spec.loader.exec_module(module)
