"""Recognizes what sources are written with, by the dependencies that they name: the likely port, and how they run."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway._internal.model.files import MEGABYTE, read_bytes

_PYTHON = {"fastapi": ("FastAPI", 8000), "flask": ("Flask", 5000), "django": ("Django", 8000)}
_NODE = {
    "next": ("Next.js", 3000),
    "@nestjs/core": ("Nest", 3000),
    "fastify": ("Fastify", 3000),
    "express": ("Express", 3000),
}
_JAVA = {"io.javalin": ("Javalin", 7070), "io.micronaut": ("Micronaut", 8080)}
_BUNDLERS = frozenset({"vite", "webpack", "parcel", "react-scripts", "@vue/cli-service", "rollup", "esbuild", "astro"})
_PAGE_SERVERS = frozenset({"nuxt", "@sveltejs/kit", "@remix-run/node", "@astrojs/node", "koa", "hapi"})
"""Packages that make a server of what is bundled."""
_HEALTH = re.compile(r"[\"'`](/(?:health|healthz|healthcheck|health-check|livez|readyz))[\"'`/]")
_SOURCES = (".py", ".js", ".mjs", ".cjs", ".ts", ".go", ".java", ".kt", ".rb")
MAX_SOURCE_FILES = 500
MAX_SOURCE_BYTES = MEGABYTE


@dataclass(frozen=True)
class Framework:
    """What sources are: the language, the framework's name, the port that it has without a setting, its health path."""

    language: str
    name: str
    port: int | None = None
    health: str | None = None


def recognize(folder: Path, names: list[str]) -> Framework | None:
    """Return what the sources in a folder are; None where nothing tells.

    Args:
        folder: where they are.
        names: the paths of its files.
    """
    found = next(_candidates(folder, names), None)
    if found is None:
        return None
    health = found.health or find_health_path(folder, names)
    return Framework(found.language, found.name, found.port, health if found.port else None)


def _candidates(folder: Path, names: list[str]) -> Iterator[Framework]:
    if "go.mod" in names:
        yield Framework("go", "Go", 8080)
    build = read(folder, "pom.xml") + read(folder, "build.gradle") + read(folder, "build.gradle.kts")
    if "spring-boot" in build:
        yield Framework("java", "Spring Boot", 8080, "/actuator/health" if "actuator" in build else None)
    elif build:
        name, port = next(((name, port) for key, (name, port) in _JAVA.items() if key in build), ("Java", None))
        yield Framework("java", name, port)
    if re.search(r"^\s*gem\s+[\"']rails[\"']", read(folder, "Gemfile"), re.MULTILINE):
        yield Framework("ruby", "Rails", 3000, "/up" if (folder / "bin" / "rails").exists() else None)
    packages = node_packages(folder)
    for package, (name, port) in _NODE.items():
        if package in packages:
            yield Framework("node", name, port)
    wanted = python_packages(folder)
    for package, (name, port) in _PYTHON.items():
        if package in wanted:
            yield Framework("python", name, port)
    if _is_bundled_page(folder):
        yield Framework("static", "a web page", 8080)
    if "package.json" in names:
        yield Framework("node", "Node.js", None)
    if {"requirements.txt", "pyproject.toml"} & {*names}:
        yield Framework("python", "Python", None)
    if "index.html" in names:
        yield Framework("static", "static files", 8080)


def _is_bundled_page(folder: Path) -> bool:
    """Whether package.json builds files for a browser, and starts no server of its own."""
    package, scripts = package_json(folder), npm_scripts(folder)
    tools = package.get("devDependencies")
    packages = node_packages(folder) | ({*tools} if isinstance(tools, dict) else set())
    is_started = "start" in scripts and re.match(r"\s*(?:node|nodemon|tsx|ts-node)\b", scripts["start"])
    return "build" in scripts and bool(packages & _BUNDLERS) and not packages & _PAGE_SERVERS and not is_started


def read(folder: Path, name: str) -> str:
    """Return a file's text; nothing where it cannot be read."""
    try:
        return read_bytes(folder / name, MEGABYTE).decode("utf-8", "replace")
    except OSError:
        return ""


def package_json(folder: Path) -> dict[str, object]:
    """Return what package.json holds; nothing where it is none."""
    try:
        found = json.loads(read(folder, "package.json"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def npm_scripts(folder: Path) -> dict[str, str]:
    """Return the scripts that package.json names."""
    found = package_json(folder).get("scripts")
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def has_npm_tests(scripts: dict[str, str]) -> bool:
    """Whether `npm test` does more than say that there are none."""
    return "test" in scripts and "no test specified" not in scripts["test"]


def node_packages(folder: Path) -> set[str]:
    """Return the packages that package.json names for running."""
    found = package_json(folder).get("dependencies")
    return {*found} if isinstance(found, dict) else set()


def python_packages(folder: Path) -> set[str]:
    """Return the packages that requirements.txt, pyproject.toml or a Pipfile names, in lower case."""
    lines = read(folder, "requirements.txt").splitlines()
    try:
        project = tomllib.loads(read(folder, "pyproject.toml"))
    except (ValueError, RecursionError):
        project = {}
    dependencies = (
        project.get("project", {}).get("dependencies", []) if isinstance(project.get("project"), dict) else []
    )
    lines += [str(item) for item in dependencies] if isinstance(dependencies, list) else []
    poetry = re.search(
        r"^\[tool\.poetry\.dependencies\]\n((?:(?!\[).*\n?)*)", read(folder, "pyproject.toml"), re.MULTILINE
    )
    lines += poetry[1].splitlines() if poetry else []
    found = (re.match(r"\s*[\"']?([A-Za-z0-9][A-Za-z0-9._-]*)", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", match[1].lower()) for match in found if match}


def find_health_path(folder: Path, names: list[str]) -> str | None:
    """Return the path of a health check that the sources answer; None where none is written there."""
    for name in [name for name in names if name.endswith(_SOURCES)][:MAX_SOURCE_FILES]:
        if (found := _HEALTH.search(read(folder, name))) and "test" not in name:
            return found[1]
    return None
