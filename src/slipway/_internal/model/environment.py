"""A service's environment where it runs: its port and route, the addresses it calls, and its own `[env]`."""

from __future__ import annotations

from slipway._internal.model.workspace import Service, Workspace

GATEWAY_URL = "http://gateway:8080"
"""How containers on a Docker engine reach the stack's gateway."""


def service_environment(workspace: Workspace, service: Service, target: str) -> dict[str, str]:
    """Return a service's environment on a target; its own `[env]` overrides what Slipway sets."""
    settings = {"PORT": service.settings.port, "ROUTE": service.settings.route}
    addresses = {
        url_variable(name): service_url(workspace.service(name), target) for name in sorted(service.settings.needs)
    }
    own = {name: str(value) for name, value in settings.items() if value is not None}
    return {**own, **addresses, **service.settings.env}


def url_variable(service: str) -> str:
    """Return the variable that holds a service's address: `price-list` is `PRICE_LIST_URL`."""
    return f"{service.upper().replace('-', '_')}_URL"


def service_url(service: Service, target: str) -> str:
    """Return the address that other services call one by, its route included and without a slash at the end.

    A Docker engine's containers have other names after each deploy, so there they are called through the gateway.
    """
    host = GATEWAY_URL if target == "docker" else f"http://{service.name}:{service.settings.port}"
    return f"{host}{service.settings.route or ''}".rstrip("/")
