"""Gathers a report's data: a record, figures derived from it, the workspace's dependencies, and earlier runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.insight import critical_path
from slipway._internal.insight.image_layers import Layer
from slipway._internal.insight.requests import list_routes
from slipway._internal.model import bases_lock
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.run_record import RecordedStep, RunRecord, busy_seconds
from slipway._internal.model.workspace import Service, Workspace

GATEWAY_URL_PATTERN = re.compile(r"^https?://gateway(?::\d+)?(/[^?#]*)?")
MAX_HISTORY_RUNS = 30
"""How many runs the history shows."""


def collect_report_data(
    workspace: Workspace, record: RunRecord, records: Sequence[RunRecord], layers: Mapping[str, Sequence[Layer]]
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
        "title": f"{workspace.name}: {record.what}{where}, {record.began_at:%Y-%m-%d %H:%M} UTC",
        "workspace": workspace.name,
        "what": record.what,
        "stack": record.stack,
        "mode": record.mode,
        "began": record.began,
        "seconds": record.seconds,
        "result": record.result,
        "problem": record.problem,
        "known": record.known,
        "phases": list(_phase_data(record)),
        "services": [_service_data(workspace, name, steps) for name, steps in record.services.items()],
        "critical": [
            {"service": name, "step": number} for name, number in critical_path.find_critical_path(record.services)
        ],
        "images": [
            _image_data(name, record.images.get(name, ""), image_layers) for name, image_layers in layers.items()
        ],
        "graph": dependency_graph(workspace),
        "history": [_run_data(run, run == record) for run in _comparable_runs(record, records)[-MAX_HISTORY_RUNS:]],
    }


def dependency_graph(workspace: Workspace) -> dict[str, Any]:
    """Return what depends on what: nodes of bases, libs and services, and edges from what needs to what is needed."""
    try:
        base_images = bases_lock.load(workspace.root).bases
    except SlipwayError:
        base_images = {}
    edges: list[dict[str, str]] = []
    for service in workspace.services:
        name = f"service:{service.name}"
        edges += [{"from": name, "to": f"lib:{lib}", "kind": "lib"} for lib in service.settings.libs]
        edges += [
            {"from": name, "to": f"base:{base}", "kind": "base"} for base in _bases_of(workspace, service, base_images)
        ]
        edges += [
            {"from": name, "to": f"service:{callee}", "kind": "calls"} for callee in called_services(workspace, service)
        ]
    services = [f"service:{service.name}" for service in workspace.services]
    needed = {edge["to"] for edge in edges if edge["kind"] != "calls"}
    nodes = [dict(zip(("kind", "name"), node.split(":", 1), strict=True)) for node in (*sorted(needed), *services)]
    return {"nodes": nodes, "edges": edges}


def called_services(workspace: Workspace, service: Service) -> list[str]:
    """Return the services that a service needs, and those whose address its environment names.

    That is the gateway's address with their route, or one with their own name as the host.
    """
    routes = [(row.route.path, row.service) for row in list_routes(workspace.services)]
    called = list(service.settings.needs)
    for value in service.settings.env.values():
        if match := GATEWAY_URL_PATTERN.match(value):
            path = match[1] or "/"
            called += [name for route, name in routes if f"{path}/".startswith(f"{route.rstrip('/')}/")][:1]
        else:
            names = re.findall(r"(?:^|//|@)([a-z0-9-]+)(?=[:/]|$)", value)
            called += [other.name for other in workspace.services if other.name in names]
    return [name for name in dict.fromkeys(called) if name != service.name]


def _bases_of(workspace: Workspace, service: Service, base_images: Mapping[str, str]) -> list[str]:
    if not service.is_built:
        return []
    try:
        declared = build_inputs_of(workspace, service, base_images).bases
    except SlipwayError:  # a Dockerfile that cannot be read is the build's affair
        return []
    return [base for base in base_images if base.upper().replace("-", "_") in declared]


def _phase_data(record: RunRecord) -> Iterator[dict[str, Any]]:
    """Yield the command's phases, with what lies between and after them as a phase of its own kind."""
    at = 0.0
    for phase in record.phases:
        if phase.begin - at >= 0.01:
            yield {"name": "between", "begin": at, "end": phase.begin}
        yield {"name": phase.name, "begin": phase.begin, "end": phase.end}
        at = phase.end
    if record.seconds - at >= 0.01:
        yield {"name": "the rest" if record.phases else "work", "begin": at, "end": record.seconds}


def _service_data(workspace: Workspace, name: str, steps: Sequence[RecordedStep]) -> dict[str, Any]:
    kind = "service" if any(service.name == name for service in workspace.services) else "base"
    if any(step.kind in ("gateway", "network") for step in steps):
        kind = "part"
    return {
        "name": name,
        "kind": kind,
        "busy": round(busy_seconds(steps), 3),
        "steps": [
            {"name": step.name, "kind": step.kind, "begin": step.begin, "end": step.end, "state": step.state}
            for step in steps
        ],
    }


def _image_data(service: str, ref: str, layers: Sequence[Layer]) -> dict[str, Any]:
    return {
        "service": service,
        "digest": ref.rpartition("@")[2],
        "size": sum(layer.size for layer in layers),
        "layers": [msgspec.to_builtins(layer) for layer in layers],
    }


def _comparable_runs(record: RunRecord, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that can be compared with one: the same work, for the same stack."""
    return [other for other in records if (other.what, other.stack) == (record.what, record.stack)]


def _run_data(record: RunRecord, shown: bool) -> dict[str, Any]:
    return {
        "began": record.began,
        "seconds": record.seconds,
        "building": round(build_seconds(record), 3),
        "result": record.result,
        "shown": shown,
    }


def build_seconds(record: RunRecord, names: Collection[str] | None = None) -> float:
    """Return for how long at least one image was being built in a run; `names` leaves out all but these."""
    services = (steps for name, steps in record.services.items() if names is None or name in names)
    return busy_seconds([step for steps in services for step in steps if step.kind in ("step", "image")])
