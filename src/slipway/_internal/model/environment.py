"""A service's environment where it runs: its port and route, the addresses it calls, and its own `[env]`.

An address in the environment holds no password: anyone who may look at a container could read it there. The whole URL
is a file, /run/secrets/NAME_URL.
"""

from __future__ import annotations

from slipway._internal.model.containers import URL_PLACEHOLDERS, url_fields
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Service, Workspace

GATEWAY_URL = "http://gateway:8080"
"""How containers on a Docker engine reach the stack's gateway."""


def service_environment(workspace: Workspace, service: Service, stack: Stack) -> dict[str, str]:
    """Return a service's environment in a stack; its own `[env]` overrides what Slipway sets."""
    route = service.main_route
    settings = {"PORT": service.settings.port, "ROUTE": route.service_path if route else None}
    addresses = {
        url_variable(name): service_url(workspace.service(name), stack.target)
        for name in sorted(service.settings.needs)
        if name not in stack.external
    }
    own = {name: str(value) for name, value in settings.items() if value is not None}
    return {**own, **addresses, **service.settings.env}


def url_variable(service: str) -> str:
    """Return the variable that holds a service's address: `price-list` is `PRICE_LIST_URL`."""
    return f"{service.upper().replace('-', '_')}_URL"


def service_url(service: Service, target: str) -> str:
    """Return the address that other services call one by, without a slash at the end.

    On a Docker engine a service that speaks HTTP/1.1, with a route for all methods, of no host of its own, is called by
    it through the gateway, which knows whether a container is ready; others are called directly, where the path is the
    one that the service itself has.
    """
    settings, route = service.settings, service.main_route
    if settings.url is not None:
        return without_secrets(settings.url).format(host=service.name, port=settings.port)
    if target == "docker" and route and not route.methods and not route.host and settings.protocol == "http":
        return f"{GATEWAY_URL}{route.path}".rstrip("/")
    return f"http://{service.name}:{settings.port}{route.service_path if route else ''}".rstrip("/")


def without_secrets(url: str) -> str:
    """Return a service's `url` without the passwords in it: `postgres://app@{host}:{port}/app`."""
    secret_names = [name for name in url_fields(url) if name not in URL_PLACEHOLDERS]
    for name in secret_names:
        url = url.replace(f":{{{name}}}@", "@").replace(f"{{{name}}}", "")
    return url.replace("://@", "://")
