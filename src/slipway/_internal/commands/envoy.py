"""Builds the gateway's Envoy configuration: a pure function from routes to the files that Envoy watches.

Envoy takes up each file anew when another is moved over it. Clusters are named after where requests are sent, so that
a switch is: add the new clusters, change the routes, remove the old clusters; requests in flight end on the old ones.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations, groupby
from typing import NamedTuple, TypeVar, get_args

import msgspec

from slipway._internal.commands import envoy_listener as listener
from slipway._internal.commands.envoy_acme import TOKEN
from slipway._internal.commands.envoy_auth import check_callers
from slipway._internal.commands.envoy_clusters import cluster_name, clusters
from slipway._internal.commands.envoy_listener import LISTEN_PORT
from slipway._internal.commands.envoy_messages import JsonObject
from slipway._internal.commands.envoy_metrics import metrics_cluster
from slipway._internal.commands.envoy_routes import ROUTE_TABLE, route_configuration
from slipway._internal.commands.envoy_rules import METADATA, limits
from slipway._internal.commands.envoy_tls import certificates
from slipway._internal.commands.envoy_traces import traces_cluster
from slipway._internal.commands.gateway_options import (
    DEFAULT_OPTIONS,
    GatewayOptions,
    MaintenanceOptions,
    TlsOptions,
    options_as_inputs,
    parse_options,
)
from slipway._internal.commands.gateway_route import CanaryShare, Route
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.hosts import by_host, host_problem
from slipway._internal.model.parsing import convert
from slipway._internal.model.request_limits import BODY_SIZE, Protocol, RequestLimits
from slipway._internal.model.routes import OWN_PATH, PATH, RouteSettings, is_own_path, overlap, precedence

__all__ = [
    "LISTEN_PORT",
    "ROUTE_TABLE",
    "CanaryShare",
    "GatewayConfig",
    "GatewayOptions",
    "Route",
    "cluster_name",
    "parse_config",
    "render_config",
    "render_transition",
]

BOOTSTRAP, LISTENERS, CLUSTERS, ROUTES = "bootstrap.json", "listeners.json", "clusters.json", "routes.json"
CERTIFICATES, LIMITS = "certificates.json", "limits.json"
"""The names of the configuration's files. Envoy reads the first at its start only, and watches the others."""
_SECRET_FILE = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_UPSTREAM = re.compile(r"[a-z0-9][a-z0-9._-]*:[0-9]{1,5}", re.IGNORECASE)

_UNREADABLE = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""What reading files raises that another version of Slipway, or somebody else, has written."""
T = TypeVar("T")


class IssuedOptions(NamedTuple):
    """What was switched on in a gateway that has certificates issued: the last of them, and answers to an authority."""

    tls: TlsOptions | None = None
    challenges: Mapping[str, str] = {}


class GatewayConfig(NamedTuple):
    """What a gateway's configuration is made of."""

    routes: tuple[Route, ...] = ()
    options: GatewayOptions = DEFAULT_OPTIONS


def render_config(routes: Sequence[Route], options: GatewayOptions = DEFAULT_OPTIONS) -> dict[str, str]:
    """Return the files of the configuration for these routes, by name.

    A host that does not exist (yet) costs its own route a 502 and nothing else.

    Args:
        routes: in any order.
        options: what the gateway has besides.

    Raises:
        ConfigError: a route, name or upstream that can't stand in the files, or two services with one route.
    """
    _check_routes(routes)
    _check_hosts(routes, options)
    _check_tls(options)
    _check_http3(options)
    _check_challenges(options)
    ordered = sorted(routes, key=_precedence_of)
    return {
        BOOTSTRAP: _to_text(listener.bootstrap(CLUSTERS, LISTENERS)),
        LISTENERS: _discovery_response(listener.listeners(ROUTES, LIMITS, CERTIFICATES, options)),
        CERTIFICATES: _discovery_response(certificates(options)),
        LIMITS: _discovery_response(limits(ordered)),
        CLUSTERS: _discovery_response(_all_clusters(ordered, options)),
        ROUTES: _discovery_response([route_configuration(ordered, options, _metadata(ordered, options))]),
    }


def render_transition(old: GatewayConfig, new: GatewayConfig) -> str:
    """Return the clusters' file for the time of a switch: both the old configuration's clusters and the new one's."""
    return _discovery_response(_all_clusters([*new.routes, *old.routes], new.options, old.options))


def _all_clusters(routes: Sequence[Route], *options: GatewayOptions) -> list[JsonObject]:
    """Return the clusters of routes and of what the options have; of two options, the first decides."""
    found = clusters(routes)
    if any(each.metrics for each in options):
        found.append(metrics_cluster(listener.ADMIN_SOCKET))
    if traces := next((each.traces for each in options if each.traces), None):
        found.append(traces_cluster(traces))
    return found


def parse_config(files: Mapping[str, str]) -> GatewayConfig:
    """Return what a configuration that `render_config` wrote is made of.

    Raises:
        ConfigError: it is somebody else's.
    """
    try:
        found = _read_metadata(files)
        config = GatewayConfig(
            tuple(_parse_route(entry) for entry in found["routes"]), parse_options(found.get("options", {}))
        )
        own = render_config(*config)
    except (*_UNREADABLE, ConfigError):
        own = {}
    if not own or own != dict(files):
        raise ConfigError("the gateway's configuration is not as this version of Slipway writes it")
    return config


def read_maintenance(files: Mapping[str, str]) -> MaintenanceOptions | None:
    """Return what is in maintenance by a configuration of whatever version of Slipway; None: nothing."""
    return _read_option(files, "maintenance", MaintenanceOptions)


def read_tls(files: Mapping[str, str]) -> TlsOptions | None:
    """Return how a gateway speaks TLS by a configuration of whatever version of Slipway; None: it does not."""
    return _read_option(files, "tls", TlsOptions)


def read_issued(files: Mapping[str, str]) -> IssuedOptions:
    """Return what a gateway that has certificates issued answers by one, by a configuration of whatever version."""
    try:
        found = _read_metadata(files)["options"]
        challenges = convert(found.get("challenges", {}), dict[str, str])
        return IssuedOptions(read_tls(files), challenges) if "acme" in found else IssuedOptions()
    except _UNREADABLE:
        return IssuedOptions()


def _read_option(files: Mapping[str, str], name: str, kind: type[T]) -> T | None:
    """Return an option of a configuration of whatever version; None where it has none that can be read."""
    try:
        return convert(_read_metadata(files)["options"][name], kind)
    except _UNREADABLE:
        return None


def _read_metadata(files: Mapping[str, str]) -> JsonObject:
    """Return what `render_config` has noted of what it was given; one of `_UNREADABLE` where there is no such thing."""
    [table] = json.loads(files[ROUTES])["resources"]
    found: JsonObject = table["metadata"]["filter_metadata"][METADATA]
    return found


def _parse_route(entry: JsonObject) -> Route:
    rules = entry["rules"] and convert(entry["rules"], RouteSettings)
    canary = CanaryShare(**entry["canary"]) if "canary" in entry else None
    return Route(**{**entry, "limits": RequestLimits(**entry["limits"]), "rules": rules, "canary": canary})


def version_of(text: str) -> str:
    """Return the version that a watched file names; Envoy tells it back once it has accepted the file."""
    return str(json.loads(text)["version_info"])


def _check_routes(routes: Sequence[Route]) -> None:
    for route in routes:
        if not _SERVICE.fullmatch(route.service):
            raise ConfigError(f"service name {route.service!r} is not a DNS label")
        if not PATH.fullmatch(route.path):
            raise ConfigError(
                f"service {route.service} has the route {route.path!r}",
                remedy="Write it like /api or /shop/cart, without a slash at the end; / takes everything else.",
            )
        if is_own_path(route.path):
            raise ConfigError(f"service {route.service} has the route {route.path}: {OWN_PATH} is the gateway's")
        for upstream in route.upstreams:
            if not _UPSTREAM.fullmatch(upstream):
                raise ConfigError(f"service {route.service} has the upstream {upstream!r}, not host:port")
        if route.canary and not 1 <= route.canary.percent <= 99:
            raise ConfigError(f"the canary of {route.service} gets {route.canary.percent} %: 1 to 99 can be had")
        if route.protocol not in get_args(Protocol):
            raise ConfigError(f"service {route.service} has the protocol {route.protocol!r}")
        sized = not route.limits.body or BODY_SIZE.fullmatch(route.limits.body)
        if not sized or min(route.limits.connect, route.limits.idle) < 1:
            raise ConfigError(f"service {route.service} has the limits {route.limits}")
        check_callers(route)


def _check_hosts(routes: Sequence[Route], options: GatewayOptions) -> None:
    for route in routes:
        if route.settings.host is not None and (problem := host_problem(route.settings.host)):
            raise ConfigError(f"service {route.service} has the host {route.settings.host!r}, which {problem}")
    for host in options.hosts:
        if problem := host_problem(host):
            raise ConfigError(f"the gateway has the host {host!r}, which {problem}")
    for host, found in by_host(routes, lambda route: route.settings.host, options.hosts).items():
        for path, same in groupby(sorted(found, key=_precedence_of), key=lambda route: route.path):
            for one, other in combinations(same, 2):
                if overlap(*(msgspec.structs.replace(route.settings, host=host) for route in (one, other))):
                    names = " and ".join(sorted((one.service, other.service)))
                    raise ConfigError(
                        f"{names} have the same route {host}{path}", remedy="Give each service its own route."
                    )


def _check_tls(options: GatewayOptions) -> None:
    if options.tls and not _SECRET_FILE.fullmatch(options.tls.key):
        raise ConfigError(f"the certificate's key has the name {options.tls.key!r}, which is none of a secret file")
    if options.tls and "PRIVATE KEY" in options.tls.certificate:
        raise ConfigError("the certificate has a private key in it")
    if options.hsts and not options.tls and not options.acme:
        raise ConfigError("the gateway has `hsts`, but no certificate")


def _check_http3(options: GatewayOptions) -> None:
    if options.http3 and not options.tls and not options.acme:
        raise ConfigError("the gateway has `http3`, but no certificate")


def _check_challenges(options: GatewayOptions) -> None:
    if options.challenges and not options.acme:
        raise ConfigError("the gateway has `challenges`, but no certificates issued")
    for token, answer in options.challenges.items():
        if not TOKEN.fullmatch(token) or not TOKEN.fullmatch(answer.removeprefix(f"{token}.")):
            raise ConfigError(f"{token!r:.80} is no challenge of ACME with its answer")


def _precedence_of(route: Route) -> tuple[int, str, str]:
    return (*precedence(route.path), route.settings.host or "")


def _to_text(value: JsonObject) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _discovery_response(resources: Sequence[JsonObject]) -> str:
    digest = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
    return _to_text({"version_info": digest, "resources": list(resources)})


def _metadata(ordered: Sequence[Route], options: GatewayOptions) -> JsonObject:
    """Return what the configuration says of itself, for `parse_config`. Everybody may read it."""
    readable = options_as_inputs(options)
    return {"routes": [_entry(route) for route in ordered], **({"options": readable} if readable else {})}


def _entry(route: Route) -> JsonObject:
    entry = {**asdict(route), "rules": msgspec.to_builtins(route.rules)}
    return {name: value for name, value in entry.items() if name != "canary" or value}
