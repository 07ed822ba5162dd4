"""Gives adopted services their routes: the first one `/` where that is free, others /NAME."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slipway._internal.adopt.plan import Draft
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace

NOT_HTTP = frozenset(
    {
        *(21, 22, 25, 53, 110, 143, 389, 465, 514, 587, 636, 853, 993, 995, 1194, 1433, 1521, 1883, 2181, 2379, 2380),
        *(3306, 33060, 4222, 4369, 5044, 5432, 5433, 5671, 5672, 6379, 6380, 7000, 7687, 8883, 9042, 9092, 9093, 9229),
        *(9230, 9300, 11211, 25565, 25672, 26257, 27017, 27018, 27019, 28015, 29015, 29092, 50000, 50051, 51820, 61616),
    }
)
"""Ports of databases, queues, mail, debuggers and the like: no browser asks them."""


def give_routes(workspace: Workspace, drafts: Sequence[Draft], wanted: str | None, where: str) -> None:
    """Set the route of each service, in their order.

    Args:
        workspace: its services keep their routes.
        drafts: those that browsers are to reach.
        wanted: the first one's route; None for `/`, or /NAME where that is taken.
        where: what to tell of.

    Raises:
        ConfigError: `wanted` is another service's, or no service takes requests.
    """
    taken = {route.path: service.name for service in workspace.services for route in service.routes}
    if wanted is not None and not drafts:
        raise ConfigError("--route is for a service that takes requests, and none here has a port", remedy="Leave it.")
    if wanted in taken:
        raise ConfigError(
            f"the route {wanted} is taken by the service `{taken[wanted]}`", remedy="Choose another one with --route."
        )
    for number, draft in enumerate(drafts):
        route = wanted if wanted and number == 0 else _free_route(draft.name, taken, is_first=number == 0)
        taken[route] = draft.name
        if draft.is_built_for_route:
            draft.settings["args"]["ROUTE"] = route
        if route in ("/", wanted) or draft.is_built_for_route:
            draft.settings["route"] = route
        else:
            _strip(draft, route, where)


def _strip(draft: Draft, route: str, where: str) -> None:
    """Give a service a route that it does not know of: it serves at `/`, as where it comes from."""
    draft.settings["routes"] = [{"path": route, "strip": True}]
    draft.comments["routes.strip"] = f"The service gets the path without {route}, and X-Forwarded-Prefix: {route}."
    draft.tell(
        "to do",
        where,
        "routes",
        f"{draft.name} is reached at {route}, and gets the path without it: links in pages that begin with / lead past",
        "Nothing for an API. For pages, set the base path of its framework, or give another service's route `/` to it.",
    )


def _free_route(name: str, taken: Iterable[str], *, is_first: bool) -> str:
    if is_first and "/" not in taken:
        return "/"
    route, number = f"/{name}", 1
    while route in taken:
        number += 1
        route = f"/{name}-{number}"
    return route


def first_http_port(ports: Iterable[int]) -> int | None:
    """Return the first port that a browser may ask, plain HTTP before TLS; None where there is none."""
    likely = [port for port in ports if port not in NOT_HTTP]
    plain = [port for port in likely if port not in (443, 8443)]
    return next(iter(plain), None)
