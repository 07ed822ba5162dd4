"""How the gateway's Envoy looks up hosts."""

from __future__ import annotations

from slipway._internal.commands.envoy_messages import JsonObject, typed

ENGINE_DNS = "127.0.0.11"


def dns_cluster() -> JsonObject:
    """Return how a cluster's host is looked up: at the engine's own DNS, all of its addresses, again each second.

    So a container that comes back with another address is found, and one that has ended is asked no more.
    """
    return typed(
        "envoy.extensions.clusters.dns.v3.DnsCluster",
        dns_lookup_family="V4_ONLY",
        dns_refresh_rate="1s",
        dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "1s"},
        dns_jitter="0s",
        typed_dns_resolver_config={
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": typed(
                "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                resolvers=[{"socket_address": {"address": ENGINE_DNS, "port_value": 53}}],
                dns_resolver_options={"no_default_search_domain": True},
                query_timeout_seconds=1,
                query_tries=2,
            ),
        },
    )
