"""Plans the adoption of a folder as one service: by its Dockerfile, or by one that is written around its sources."""

from __future__ import annotations

import re
from pathlib import Path

from slipway._internal.adopt.copying import list_files
from slipway._internal.adopt.dockerless import write_around
from slipway._internal.adopt.frameworks import Framework, recognize
from slipway._internal.adopt.names import require_label, to_label
from slipway._internal.adopt.pins import HOW_TO_PIN, Pins, base_arguments, pin_dockerfile
from slipway._internal.adopt.plan import Draft, Plan
from slipway._internal.adopt.routes import first_http_port, give_routes
from slipway._internal.adopt.security import lift_restrictions, set_limits
from slipway._internal.content.digest import TEST_STAGE
from slipway._internal.content.dockerfile import Dockerfile
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.content.dockerfile_facts import DockerfileFacts, read_facts
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace

_DOCKERFILE = re.compile(r"(?:.+\.)?(?:Dockerfile|dockerfile|Containerfile)(?:\.(?!dockerignore)[\w-]+)?")
_COMMAND_PORT = re.compile(
    r"""--?(?:port|bind|listen|address|addr|http|b|p)['"]?[=\s,]\s*['"]?(?:[\w.:*\[\]-]*:)?([1-9]\d{1,4})\b(?![.\w])"""
)
"""A port among the words of a command: `--port 5000`, `--bind=0.0.0.0:8000`, `"-b", ":8000"`."""


def plan_folder(
    workspace: Workspace, folder: Path, pins: Pins, *, name: str | None, given: str, route: str | None
) -> Plan:
    """Return the plan that makes a service of a folder.

    Args:
        workspace: where the service is to be.
        folder: the project.
        pins: knows the digests of images.
        name: the service's name; made of `given` if it is None.
        given: what the folder, or the repository, is called.
        route: where the service gets requests; the first free one if it is None.

    Raises:
        ConfigError: it cannot be adopted.
    """
    names = list_files(folder)
    if not names:
        raise ConfigError(
            f"{folder} holds no file that git would not ignore", remedy="Name the folder that holds the sources."
        )
    if "service.toml" in names:
        raise ConfigError(
            f"{folder} holds a service.toml: it is a Slipway service", remedy=f"Copy it: cp -r {folder} services/"
        )
    draft = Draft(require_label(name or to_label(given), name or given), sources=folder)
    framework = recognize(folder, names)
    plan = Plan(str(folder), [draft])
    if name is None and draft.name != given:
        draft.tell("kept otherwise", str(folder), "name", f"{given!r} is no DNS label", f"The service is {draft.name}.")
    if dockerfile_name := _find_dockerfile(folder, names):
        if dockerfile_name != "Dockerfile":
            why = "a service's Dockerfile stands at its top, and is called so"
            draft.tell("kept otherwise", str(folder / dockerfile_name), "Dockerfile", why, "It is copied there.")
        dockerfile = read_dockerfile(folder / dockerfile_name)
        describe_build(workspace, draft, dockerfile, pins, framework=framework, names=names)
    else:
        write_around(workspace, draft, framework, names)
    set_limits(draft, str(folder), is_large=framework is not None and framework.language == "java")
    if draft.settings.get("port"):
        give_routes(workspace, [draft], route, str(folder))
    elif route:
        give_routes(workspace, [], route, str(folder))
    compose = [name for name in names if name in ("compose.yaml", "compose.yml", "docker-compose.yml")]
    if compose:
        draft.tell(
            "not carried over",
            str(folder / compose[0]),
            "services",
            "the folder is adopted as one service",
            f"`invoke adopt {folder / compose[0]}` adopts all services of that file.",
        )
    return plan


def _find_dockerfile(folder: Path, names: list[str]) -> str:
    """Return the path of a folder's Dockerfile: at its top, or the only one that there is; empty without any.

    Raises:
        ConfigError: there are several, and none at the top.
    """
    for name in ("Dockerfile", "dockerfile", "Containerfile"):
        if name in names:
            return name
    found = [name for name in names if _DOCKERFILE.fullmatch(name.rpartition("/")[2])]
    if len(found) > 1:
        raise ConfigError(
            f"{folder} has {len(found)} Dockerfiles, and none at its top: {', '.join(found[:5])}",
            remedy=f"Copy the right one there, and adopt it again: cp {folder / found[0]} {folder / 'Dockerfile'}",
        )
    return found[0] if found else ""


def describe_build(
    workspace: Workspace,
    draft: Draft,
    dockerfile: Dockerfile,
    pins: Pins,
    *,
    target: str = "",
    framework: Framework | None = None,
    names: list[str] | None = None,
    ports: tuple[int, ...] = (),
    user: str | None = None,
    read_only: bool = False,
) -> DockerfileFacts:
    """Fill in what a Dockerfile says of a service: its stage, port, arguments, restrictions, and pinned images.

    Args:
        workspace: the workspace, whose bases a Dockerfile may start from.
        draft: the service; its `args` are set already.
        dockerfile: its Dockerfile, wherever it is now.
        pins: knows the digests of images.
        target: the stage that is shipped; empty for the last one.
        framework: what the sources are, for the port where the Dockerfile names none.
        names: the paths of the files that the service gets.
        ports: ports that are known already, the likeliest first.
        user: the user that it runs as, in place of the Dockerfile's.
        read_only: whether it runs with a read-only file system now.

    Raises:
        ConfigError: there is no such stage, or an image's name comes out empty.
    """
    where = str(dockerfile.path)
    bases = base_arguments(workspace)
    args = {**bases, **draft.settings.get("args", {})}
    facts = read_facts(dockerfile, target, draft.settings.get("args", {}))
    draft.settings["target"] = facts.target
    _set_port(draft, facts, framework, ports, where)
    _set_health(draft, facts, framework, where)
    _set_arguments(draft, facts, bases, where)
    tests = [TEST_STAGE] if dockerfile.has_stage(TEST_STAGE) else []
    found = pin_dockerfile(dockerfile, [facts.target, *tests], args, pins)
    draft.dockerfile = found.text
    for line, image in found.pinned.items():
        draft.tell("carried over", f"{where}:{line}", "FROM", "pinned by its digest", image)
    for line, image in found.unknown.items():
        why = f"{image} is not pinned by digest, and {pins.why_unknown(image)}"
        draft.tell("to do", f"{where}:{line}", "FROM", why, HOW_TO_PIN.format(image=image))
    own_user = user if user is not None else facts.user
    is_own_base = facts.base_argument() in bases
    if not is_own_base or read_only:
        is_root = own_user.partition(":")[0] in ("", "root", "0")
        lift_restrictions(draft, is_root=is_root, user=user, read_only=read_only)
    for path, line in facts.copied if names is not None else ():
        _check_copied(draft, dockerfile, path, line, names or [])
    return facts


def _set_port(
    draft: Draft, facts: DockerfileFacts, framework: Framework | None, ports: tuple[int, ...], where: str
) -> None:
    if ports:
        draft.settings["port"] = ports[0]
        return
    exposed = first_http_port(facts.ports) or next(iter(facts.ports), None)
    if exposed:
        draft.settings["port"] = exposed
        draft.comments["port"] = "From EXPOSE in the Dockerfile."
        others = [str(port) for port in facts.ports if port != exposed]
        if others:
            draft.tell(
                "not carried over", where, "EXPOSE", f"a service has one port; these are others: {', '.join(others)}"
            )
    elif found := _COMMAND_PORT.search(facts.command):
        draft.settings["port"] = int(found[1])
        draft.comments["port"] = "From the command in the Dockerfile, which has no EXPOSE."
    elif framework and framework.port:
        draft.settings["port"] = framework.port
        draft.comments["port"] = (
            f"The Dockerfile has no EXPOSE; {framework.name} listens here unless it is told otherwise."
        )
        draft.tell("to do", where, "EXPOSE", f"the port {framework.port} is a guess: it is {framework.name}'s own")
    else:
        draft.tell(
            "to do", where, "EXPOSE", "no port is known: without one the service takes no requests", "port = 8000"
        )


def _set_health(draft: Draft, facts: DockerfileFacts, framework: Framework | None, where: str) -> None:
    if facts.health:
        draft.tell("carried over", where, "HEALTHCHECK", "as it is in the Dockerfile")
    if framework and framework.health and draft.settings.get("port"):
        draft.settings["health"] = framework.health
        draft.comments["health"] = "Found in the sources."
    elif not facts.health:
        draft.tell(
            "to do",
            where,
            "HEALTHCHECK",
            "no health check is known: it counts as well as soon as it runs",
            'health = "/health", [healthcheck], or HEALTHCHECK in the Dockerfile',
        )


def _set_arguments(draft: Draft, facts: DockerfileFacts, bases: dict[str, str], where: str) -> None:
    missing = {name: line for name, line in (facts.unset or {}).items() if name not in bases}
    if missing:
        draft.settings["args"] = {**draft.settings.get("args", {}), **dict.fromkeys(missing, "")}
    for name, line in missing.items():
        draft.comments[f"args.{name}"] = "The Dockerfile gives it no default."
        draft.tell("to do", f"{where}:{line}", f"ARG {name}", "it has no default", f'{name} = "…" in [args]')


def _check_copied(draft: Draft, dockerfile: Dockerfile, path: str, line: int, names: list[str]) -> None:
    if path in names or any(name.startswith(f"{path}/") for name in names):
        return
    there = (dockerfile.path.parent / path).exists()
    why = "git ignores it, so it is left out" if there else "it is not there"
    draft.tell(
        "to do",
        f"{dockerfile.path}:{line}",
        "COPY",
        f"{path}: {why}",
        "Make it in a stage of the Dockerfile: COPY --from.",
    )
