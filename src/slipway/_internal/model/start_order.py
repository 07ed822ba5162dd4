"""In which order services start: what holds data is up before the services that need it."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Protocol, TypeVar


class Needs(Protocol):
    """The part of a service's settings that decides the order."""

    @property
    def needs(self) -> tuple[str, ...]: ...


class Startable(Protocol):
    """What starts: a service, as far as the order depends on it."""

    @property
    def name(self) -> str: ...

    @property
    def is_backing(self) -> bool: ...

    @property
    def settings(self) -> Needs: ...


S = TypeVar("S", bound=Startable)


def backing_needs(service: Startable, services: Sequence[Startable]) -> list[str]:
    """Return the services that must be healthy before a service starts: the backing ones that it needs."""
    return [other.name for other in services if other.is_backing and other.name in service.settings.needs]


def in_start_order(services: Sequence[S]) -> list[S]:
    """Return the services, each after the backing services that it needs.

    Raises:
        CycleError: some need each other in a circle; its second argument names them.
    """
    by_name = {service.name: service for service in services}
    sorter = TopologicalSorter({service.name: backing_needs(service, services) for service in services})
    return [by_name[name] for name in sorter.static_order()]


def find_circle(services: Sequence[Startable]) -> list[str]:
    """Return the backing services that need each other in a circle, the first one again at its end; none: empty."""
    try:
        in_start_order(services)
    except CycleError as error:
        return list(error.args[1])
    return []
