"""Where the package's own data is: kinds of services, pages, pinned tools."""

from importlib import resources
from pathlib import Path


def package_path(*names: str) -> Path:
    """Return the path of a file or folder of the package; pip unpacks wheels, so that there always is one."""
    return Path(str(resources.files("slipway").joinpath(*names)))
