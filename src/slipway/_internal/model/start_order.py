"""In which order services start: what holds data is up before the services that need it."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway._internal.model.workspace import Service


def backing_needs(service: Service, services: Sequence[Service]) -> list[str]:
    """Return the services that must be healthy before a service starts: the backing ones that it needs."""
    return [other.name for other in services if other.is_backing and other.name in service.settings.needs]


def in_start_order(services: Sequence[Service]) -> list[Service]:
    """Return the services, each after the backing services that it needs.

    Raises:
        CycleError: some need each other in a circle; its second argument names them.
    """
    by_name = {service.name: service for service in services}
    sorter = TopologicalSorter({service.name: backing_needs(service, services) for service in services})
    return [by_name[name] for name in sorter.static_order()]


def find_circle(services: Sequence[Service]) -> list[str]:
    """Return the backing services that need each other in a circle, the first one again at its end; none: empty."""
    try:
        in_start_order(services)
    except CycleError as error:
        return list(error.args[1])
    return []
