"""Gathers what a report shows: a record, what follows from it, the workspace's dependencies, and the runs before."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from slipway.content.service import inputs_of
from slipway.flows import critical
from slipway.flows.layers import Layer
from slipway.model import bases
from slipway.model.errors import SlipwayError
from slipway.model.record import Record, Step, busy
from slipway.model.workspace import Service, Workspace

GATEWAY = re.compile(r"^https?://gateway(?::\d+)?(/[^?#]*)?")
RUNS = 30
"""How many runs the history shows."""


def facts(
    workspace: Workspace, record: Record, records: Sequence[Record], layers: Mapping[str, Sequence[Layer]]
) -> dict[str, Any]:
    """Return all that the page shows, as plain values.

    Args:
        workspace: as it is now; its dependencies are drawn.
        record: the run that is shown.
        records: all that are kept, the oldest first.
        layers: service → its image's layers.
    """
    where = f" of {record.stack}" if record.stack else ""
    return {
        "title": f"{workspace.name}: {record.what}{where}, {record.when:%Y-%m-%d %H:%M} UTC",
        "workspace": workspace.name,
        "what": record.what,
        "stack": record.stack,
        "mode": record.mode,
        "began": record.began,
        "seconds": record.seconds,
        "result": record.result,
        "problem": record.problem,
        "known": record.known,
        "phases": list(_phases(record)),
        "services": [_service(workspace, name, steps) for name, steps in record.services.items()],
        "critical": [{"service": name, "step": number} for name, number in critical.path(record.services)],
        "images": [_image(name, record.images.get(name, ""), found) for name, found in layers.items()],
        "graph": graph(workspace),
        "history": [_run(each, each == record) for each in _like(record, records)[-RUNS:]],
    }


def graph(workspace: Workspace) -> dict[str, Any]:
    """Return what depends on what: nodes of bases, libs and services, and edges from what needs to what is needed."""
    try:
        based = bases.load(workspace.root).bases
    except SlipwayError:
        based = {}
    edges: list[dict[str, str]] = []
    for service in workspace.services:
        name = f"service:{service.name}"
        edges += [{"from": name, "to": f"lib:{lib}", "kind": "lib"} for lib in service.settings.libs]
        edges += [{"from": name, "to": f"base:{base}", "kind": "base"} for base in _bases(workspace, service, based)]
        edges += [{"from": name, "to": f"service:{each}", "kind": "calls"} for each in calls(workspace, service)]
    services = [f"service:{service.name}" for service in workspace.services]
    needed = {edge["to"] for edge in edges if edge["kind"] != "calls"}
    nodes = [dict(zip(("kind", "name"), node.split(":", 1), strict=True)) for node in (*sorted(needed), *services)]
    return {"nodes": nodes, "edges": edges}


def calls(workspace: Workspace, service: Service) -> list[str]:
    """Return the services that a service needs, and those whose address its environment names.

    That is the gateway's address with their route, or one with their own name as the host.
    """
    routes = sorted(
        ((str(each.settings.route), each.name) for each in workspace.services if each.settings.route),
        key=lambda each: -len(each[0]),
    )
    found = list(service.settings.needs)
    for value in service.settings.env.values():
        if match := GATEWAY.match(value):
            path = match[1] or "/"
            found += [name for route, name in routes if f"{path}/".startswith(f"{route.rstrip('/')}/")][:1]
        else:
            names = re.findall(r"(?:^|//|@)([a-z0-9-]+)(?=[:/]|$)", value)
            found += [each.name for each in workspace.services if each.name in names]
    return [name for name in dict.fromkeys(found) if name != service.name]


def _bases(workspace: Workspace, service: Service, based: Mapping[str, str]) -> list[str]:
    try:
        declared = inputs_of(workspace, service, based).bases
    except SlipwayError:  # a Dockerfile that cannot be read is the build's affair
        return []
    return [base for base in based if base.upper().replace("-", "_") in declared]


def _phases(record: Record) -> Iterator[dict[str, Any]]:
    """Yield the command's phases, with what lies between and after them as a phase of its own kind."""
    at = 0.0
    for phase in record.phases:
        if phase.begin - at >= 0.01:
            yield {"name": "between", "begin": at, "end": phase.begin}
        yield {"name": phase.name, "begin": phase.begin, "end": phase.end}
        at = phase.end
    if record.seconds - at >= 0.01:
        yield {"name": "the rest" if record.phases else "work", "begin": at, "end": record.seconds}


def _service(workspace: Workspace, name: str, steps: Sequence[Step]) -> dict[str, Any]:
    kind = "service" if any(each.name == name for each in workspace.services) else "base"
    if any(step.kind in ("gateway", "network") for step in steps):
        kind = "part"
    return {
        "name": name,
        "kind": kind,
        "busy": round(busy(steps), 3),
        "steps": [
            {"name": step.name, "kind": step.kind, "begin": step.begin, "end": step.end, "state": step.state}
            for step in steps
        ],
    }


def _image(service: str, ref: str, layers: Sequence[Layer]) -> dict[str, Any]:
    return {
        "service": service,
        "digest": ref.rpartition("@")[2],
        "size": sum(layer.size for layer in layers),
        "layers": [msgspec.to_builtins(layer) for layer in layers],
    }


def _like(record: Record, records: Sequence[Record]) -> list[Record]:
    """Return the runs that can be compared with one: the same work, for the same stack."""
    return [each for each in records if (each.what, each.stack) == (record.what, record.stack)]


def _run(record: Record, shown: bool) -> dict[str, Any]:
    return {
        "began": record.began,
        "seconds": record.seconds,
        "building": round(build_seconds(record), 3),
        "result": record.result,
        "shown": shown,
    }


def build_seconds(record: Record, names: Collection[str] | None = None) -> float:
    """Return for how long at least one image was being built in a run; `names` leaves out all but these."""
    services = (steps for name, steps in record.services.items() if names is None or name in names)
    return busy([step for steps in services for step in steps if step.kind in ("step", "image")])
