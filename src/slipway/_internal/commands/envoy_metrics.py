"""The part of the gateway's Envoy configuration that gives out its metrics, and nothing else of its admin interface."""

from __future__ import annotations

from slipway._internal.commands.envoy_messages import JsonObject, typed

METRICS_PORT = 9464
"""The port that the gateway listens on in its container."""
METRICS_PATH = "/metrics"
_ADMIN_PATH = "/stats/prometheus"
_CLUSTER = "metrics"


def metrics_cluster(admin_socket: str) -> JsonObject:
    """Return where metrics are asked: Envoy's own admin interface."""
    endpoint = {"address": {"pipe": {"path": admin_socket}}}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=_CLUSTER,
        type="STATIC",
        connect_timeout="1s",
        load_assignment={"cluster_name": _CLUSTER, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    )


def metrics_manager() -> JsonObject:
    """Return what answers at the metrics' port: one path, written in one way, to be read and nothing more.

    The path is compared as it came, with its query. So no other way to write a path leads anywhere.
    """
    asked = [
        {"name": ":path", "string_match": {"exact": METRICS_PATH}},
        {"name": ":method", "string_match": {"exact": "GET"}},
    ]
    metrics = {
        "match": {"path": METRICS_PATH, "headers": asked},
        "route": {"cluster": _CLUSTER, "prefix_rewrite": _ADMIN_PATH, "timeout": "10s"},
    }
    return typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=_CLUSTER,
        codec_type="HTTP1",
        common_http_protocol_options={"idle_timeout": "75s"},
        request_headers_timeout="10s",
        stream_idle_timeout="30s",
        normalize_path=False,
        server_name="slipway",
        route_config={
            "name": _CLUSTER,
            "virtual_hosts": [{"name": _CLUSTER, "domains": ["*"], "routes": [metrics]}],
        },
        http_filters=[
            {
                "name": "envoy.filters.http.router",
                "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
            }
        ],
    )
