"""Refuses the rules of routes that the gateway of a Docker engine does not have."""

from __future__ import annotations

from collections.abc import Sequence

from slipway._internal.model.rule_places import refuse_rule
from slipway._internal.model.workspace import Service, Workspace


def refuse_for_envoy(workspace: Workspace, services: Sequence[Service]) -> None:
    """Refuse a cache of answers: Envoy's filter for it is unfinished.

    Raises:
        ConfigError: a file has such a rule; it names the line and the key.
    """
    for service in services:
        for number, route in enumerate(service.ruled_routes):
            if route.kept_answers:
                raise refuse_rule(
                    service,
                    workspace.root,
                    number,
                    ("cache",),
                    "cannot be had with the gateway of a Docker engine, Envoy",
                    'Remove it, or write cache = "off"; Kong and Azure API Management keep answers.',
                )
