"""The part of the gateway's Envoy configuration that says where requests are sent: a cluster for each upstream."""

from __future__ import annotations

from collections.abc import Sequence

from slipway._internal.commands.envoy_auth import auth_clusters
from slipway._internal.commands.envoy_dns import dns_cluster
from slipway._internal.commands.envoy_messages import JsonObject, typed
from slipway._internal.commands.gateway_route import CanaryShare, Route
from slipway._internal.model.request_limits import Protocol

MAX_RESPONSE_HEADERS_KB = 64
MAX_HEADERS = 1000
UNLIMITED = 1_000_000
KEPT_SECONDS = 1
"""How long a connection to a service is kept without a request: shorter than by servers, of which gunicorn takes 2 s,
Uvicorn and Node.js 5 s."""
MAX_KEPT_REQUESTS = 1000


def cluster_name(upstream: str, *, keeps: bool = False) -> str:
    """Return the name of the cluster that sends requests to an upstream, as in Envoy's statistics.

    With `keeps`, it is the one that does so on connections that are used again; no port ends like its name.
    """
    return f"{upstream.replace(':', '_')}{'_kept' if keeps else ''}"


def clusters(routes: Sequence[Route]) -> list[JsonObject]:
    """Return the clusters of each upstream (of two routes to the same one, the first decides) and what checks ask."""
    found: dict[str, list[JsonObject]] = {}
    pairs: dict[str, list[JsonObject]] = {}
    for route in routes:
        for upstream in route.upstreams:
            found.setdefault(upstream, [_cluster(route, upstream, keeps=keeps) for keeps in (False, True)])
        if route.canary:
            both = [_canary_cluster(route, route.canary, keeps=keeps) for keeps in (False, True)]
            pairs.setdefault(route.canary.upstream, both)
    ordered = [cluster for named in (found, pairs) for upstream in sorted(named) for cluster in named[upstream]]
    return [*ordered, *auth_clusters(routes)]


def canary_cluster_name(canary: CanaryShare, *, keeps: bool = False) -> str:
    """Return the name of the cluster that a canary's share of requests goes to; on kept connections, of that one."""
    return f"{cluster_name(canary.upstream, keeps=keeps)}_or_stable"


def _canary_cluster(route: Route, canary: CanaryShare, *, keeps: bool) -> JsonObject:
    """Return the cluster that stands for a canary while one of its containers is healthy, and else for the rest.

    So a canary that dies costs its share no answer, whatever its percentage is.
    """
    members = [cluster_name(upstream, keeps=keeps) for upstream in (canary.upstream, route.upstream)]
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=canary_cluster_name(canary, keeps=keeps),
        cluster_type={
            "name": "envoy.clusters.aggregate",
            "typed_config": typed("envoy.extensions.clusters.aggregate.v3.ClusterConfig", clusters=members),
        },
        lb_policy="CLUSTER_PROVIDED",
        connect_timeout=f"{route.limits.connect}s",
        circuit_breakers=_NO_CIRCUIT_BREAKERS,
        typed_extension_protocol_options=_protocol_options(route.protocol, keeps=keeps),
    )


def _cluster(route: Route, upstream: str, *, keeps: bool) -> JsonObject:
    host, _, port = upstream.rpartition(":")
    endpoint = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    name = cluster_name(upstream, keeps=keeps)
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        # Statistics are the service's: who waits until it has no request left waits for those of both clusters.
        alt_stat_name=cluster_name(upstream),
        cluster_type={"name": "envoy.cluster.dns", "typed_config": dns_cluster()},
        lb_policy="LEAST_REQUEST",
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        connect_timeout=f"{route.limits.connect}s",
        per_connection_buffer_limit_bytes=64 << 10,
        # Who is gone from DNS is asked no more, whatever the health checks found last.
        ignore_health_on_host_removal=True,
        health_checks=[_health_check(route)],
        outlier_detection=_OUTLIER_DETECTION,
        # Only where none is healthy, all are asked: a check that fails must not take a service down by itself.
        common_lb_config={"healthy_panic_threshold": {"value": 1}},
        circuit_breakers=_NO_CIRCUIT_BREAKERS,
        typed_extension_protocol_options=_protocol_options(route.protocol, keeps=keeps),
    )


def _protocol_options(protocol: Protocol, *, keeps: bool) -> JsonObject:
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _http_to_service(protocol, keeps=keeps)}


# A connection for each request: none can meet a kept connection that its service is just closing, where a request that
# may not be repeated would be lost, and none can be taken for a part of another caller's. What is sent on kept ones,
# see the routes, can be repeated and has no body.
def _http_to_service(protocol: Protocol, *, keeps: bool) -> JsonObject:
    kept = {"max_requests_per_connection": MAX_KEPT_REQUESTS, "idle_timeout": f"{KEPT_SECONDS}s"}
    return typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={
            **(kept if keeps else {"max_requests_per_connection": 1}),
            "max_headers_count": MAX_HEADERS,
            "max_response_headers_kb": MAX_RESPONSE_HEADERS_KB,
        },
        explicit_http_config={"http": {"http_protocol_options": {}}, "h2c": {"http2_protocol_options": {}}}[protocol],
    )


_NO_CIRCUIT_BREAKERS: JsonObject = {
    "thresholds": [dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), UNLIMITED)]
}

# What a service answers itself, 500 or not, is no reason to send it no requests; a connection that fails is.
_OUTLIER_DETECTION: JsonObject = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 2,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "interval": "1s",
    "base_ejection_time": "1s",
    "max_ejection_time": "10s",
    "max_ejection_percent": 100,
}


def _health_check(route: Route) -> JsonObject:
    how: JsonObject = {"tcp_health_check": {}}
    if route.health:
        how = {"http_health_check": {"path": route.health, "host": "localhost"}}
    return {
        "timeout": "2s",
        "interval": "5s",
        "no_traffic_interval": "5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "reuse_connection": False,
        **how,
    }
