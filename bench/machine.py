"""What the figures were measured on: the machine's facts and the versions of all that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from bench import rivals


def facts() -> dict[str, str]:
    """Return each fact by its name; what is not there is left out."""
    found = {
        "processor": _first("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.processor(),
        "cores": str(os.cpu_count() or 0),
        "memory": _memory(),
        "kernel": platform.release(),
        "file system": _file_system(rivals.cache()),
        "Python": platform.python_version(),
        "Node.js": _said(["node", "--version"]),
        "Go": _said(["go", "env", "GOVERSION"]),
        "Docker engine": _said(["docker", "version", "--format", "{{.Server.Version}}"]),
        **tools(),
        **rivals.NPM,
        "docker-compose": rivals.COMPOSE,
    }
    return {name: value for name, value in found.items() if value}


def tools() -> dict[str, str]:
    """Return the versions of the tools that the workspace pins."""
    from slipway._internal.toolchain.tool_catalog import find_tool

    names = ("buildkit", "docker-buildx", "registry", "pulumi", "pulumi-resource-docker-build")
    return {find_tool(name).name: find_tool(name).version for name in names}


def _first(path: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _memory() -> str:
    kilobytes = _first("/proc/meminfo", r"MemTotal:\s*(\d+) kB")
    return f"{int(kilobytes) / 1024**2:.0f} GiB" if kilobytes else ""


def _file_system(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return _said(["stat", "--file-system", "--format", "%T", str(folder)])


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
