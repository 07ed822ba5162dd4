"""The part of the gateway's Envoy configuration that says who may call: filters, what a route tells them, clusters.

All that a route asks for stands in the table of routes, so that another rule or another key changes no listener, which
would end connections. A filter that fails must let nobody in: Envoy goes on after an error in a script, so scripts
catch their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from slipway._internal.commands.envoy_auth_scripts import (
    CALLER_SCRIPT,
    CLAIMS_SCRIPT,
    CONSUMER_PREFIX,
    KEY_PREFIX,
)
from slipway._internal.commands.envoy_dns import dns_cluster
from slipway._internal.commands.envoy_messages import JsonObject, typed
from slipway._internal.commands.gateway_options import GatewayOptions
from slipway._internal.commands.gateway_route import Route
from slipway._internal.model.auth import (
    ALGORITHMS,
    CONSUMER_HEADER,
    AuthSettings,
    ConsumerSettings,
    ExternalSettings,
    JwtSettings,
    check_auth,
    hidden_headers,
    spellings,
    with_files,
)
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.route_rules import limit_problem

CALLER_FILTER, PROOF_FILTER, CLAIMS_FILTER = "slipway.caller", "slipway.proof", "slipway.claims"
IMAGE_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
NO_FOLDER = Path("/nowhere")
MAX_JWKS_SECONDS = 300
CLOCK_SKEW_SECONDS = 30


def check_callers(route: Route) -> None:
    """Check what a route says of who may call: its files' texts stand in the place of their names.

    Raises:
        ConfigError: anything in it is wrong.
    """

    def refuse(_keys: tuple[str, ...], what: str, remedy: str) -> ConfigError:
        return ConfigError(f"service {route.service}: {what}", remedy=remedy)

    auth = route.settings.auth
    check_auth(auth, ("auth",), refuse)
    if problem := limit_problem(route.settings, auth.kind if auth else ""):
        raise ConfigError(f"service {route.service}: {problem}")
    try:
        if auth:
            with_files(auth, NO_FOLDER)
    except ConfigError as error:
        raise ConfigError(f"service {route.service}: {error.message}", remedy=error.remedy) from error


def auth_filters() -> list[JsonObject]:
    """Return the filters that check callers, in order; each is for the routes that ask for it."""
    chain = "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig"
    return [
        _script(CALLER_FILTER, CALLER_SCRIPT),
        {"name": PROOF_FILTER, "disabled": True, "typed_config": typed(chain)},
        _script(CLAIMS_FILTER, CLAIMS_SCRIPT),
    ]


def early_removals() -> list[str]:
    """Return the headers that no caller may send, in all spellings."""
    return spellings(CONSUMER_HEADER)


@dataclass(frozen=True)
class RouteGuard:
    """What the checks of a gateway's routes have in common.

    Attributes:
        consumers: who may call by keys.
        hidden: the headers that checks give services, which no caller may send to any route.
        host_fields: what a virtual host says of keys: whose each hash is.
    """

    consumers: Mapping[str, ConsumerSettings]
    hidden: frozenset[str]
    host_fields: JsonObject

    @classmethod
    def of(cls, routes: Sequence[Route], options: GatewayOptions) -> RouteGuard:
        auths = [route.settings.auth for route in routes if route.settings.auth]
        known = {name: ConsumerSettings(consumer.groups) for name, consumer in options.consumers.items()}
        by_keys = any(auth.key_settings or auth.basic_settings for auth in auths)
        metadata = {"metadata": {"filter_metadata": {CALLER_FILTER: _owners(options)}}} if by_keys else {}
        return cls(known, frozenset(hidden_headers(auths)), metadata)

    def guarded(self, route: Route, entries: Sequence[JsonObject]) -> list[JsonObject]:
        """Return a route's entries; those that lead to its service are only for who may call, without false names."""
        auth = route.settings.auth
        filters = _filters_of(route, auth, self.consumers) if auth else {}
        others = self.hidden - hidden_headers([auth] if auth else [])
        removed = sorted({name for header in others for name in spellings(header)})
        found = []
        for entry in entries:
            changes: JsonObject = {}
            if "route" in entry and filters:
                changes["typed_per_filter_config"] = {**entry.get("typed_per_filter_config", {}), **filters}
            if "route" in entry and removed:
                changes["request_headers_to_remove"] = [*entry.get("request_headers_to_remove", ()), *removed]
            found.append({**entry, **changes})
        return found


def _owners(options: GatewayOptions) -> JsonObject:
    """Return whose each key is. The script asks for what is not there, too, so it is never empty."""
    named = sorted(options.consumers.items())
    return {"none": "", **{f"{KEY_PREFIX}{key}": name for name, consumer in named for key in consumer.keys}}


def _filters_of(route: Route, auth: AuthSettings, consumers: Mapping[str, ConsumerSettings]) -> JsonObject:
    """Return what a route tells the filters."""
    service, limit = route.service, route.settings.rate_limit
    if external := auth.external_settings:
        said = sorted({spelling for name in external.receive for spelling in spellings(name)})
        return {
            CALLER_FILTER: _context({"kind": "external", "remove": said}),
            PROOF_FILTER: _chain("envoy.filters.http.ext_authz", _external(external)),
        }
    if auth.jwt:
        return _jwt_filters(service, auth.jwt, [limit.claim] if limit and limit.claim else [])
    allowed = auth.allowed_consumers(consumers)
    names = {} if len(allowed) == len(consumers) else {f"{CONSUMER_PREFIX}{name}": True for name in allowed}
    context: JsonObject = {"kind": auth.kind, "all": len(allowed) == len(consumers), **names}
    if keys := auth.key_settings:
        context |= {
            "header": keys.header.lower(),
            "challenge": f'ApiKey realm="{service}", header="{keys.header}"',
            "remove": spellings(keys.header),
        }
    else:
        context |= {"challenge": f'Basic realm="{service}", charset="UTF-8"', "remove": ["authorization"]}
    return {CALLER_FILTER: _context(context)}


def auth_clusters(routes: Sequence[Route]) -> list[JsonObject]:
    """Return the clusters of the servers that are asked about callers."""
    found: dict[str, JsonObject] = {}
    for auth in (route.settings.auth for route in routes if route.settings.auth):
        if auth.jwt and auth.jwt.url:
            name = cluster_of(auth.jwt.url, auth.jwt.ca)
            found[name] = server_cluster(name, auth.jwt.url, auth.jwt.ca)
        if auth.external_settings:
            name = cluster_of(auth.external_settings.url)
            found[name] = server_cluster(name, auth.external_settings.url)
    return [found[name] for name in sorted(found)]


def cluster_of(url: str, ca: str | None = None) -> str:
    """Return the name of the cluster of a server that is asked about callers."""
    parts = urlsplit(url)
    known_by = f"_{hashlib.sha256(ca.encode()).hexdigest()[:16]}" if ca else ""
    return f"auth_{parts.scheme}_{parts.hostname}_{_port_of(url)}{known_by}"


def _script(name: str, text: str) -> JsonObject:
    script = typed(
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": text},
        # The route was chosen by the request as it came. Chosen again after a change of headers, when the mark of TLS
        # is gone, it would be the redirect of who came without.
        clear_route_cache=False,
    )
    return {"name": name, "disabled": True, "typed_config": script}


def _context(values: JsonObject) -> JsonObject:
    return typed("envoy.extensions.filters.http.lua.v3.LuaPerRoute", filter_context=values)


def _chain(name: str, config: JsonObject) -> JsonObject:
    return typed(
        "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfigPerRoute",
        filter_chain={"filters": [{"name": name, "typed_config": config}]},
    )


def _jwt_filters(service: str, jwt: JwtSettings, limited: Sequence[str]) -> JsonObject:
    challenge = f'Bearer realm="{service}"'
    claims = [
        {"name": name, "values": [wanted] if isinstance(wanted, str) else list(wanted)}
        for name, wanted in sorted(jwt.claims.items())
    ]
    context = {
        "algorithms": dict.fromkeys(ALGORITHMS, True),
        "challenge": f'{challenge}, error="invalid_token"',
        "insufficient": f'{challenge}, error="insufficient_scope"',
        "claims": claims,
        "headers": [{"claim": claim, "header": name.lower()} for claim, name in sorted(jwt.headers.items())],
        "remove": sorted({spelling for name in jwt.headers.values() for spelling in spellings(name)}),
        "limited": list(limited),
    }
    return {
        CALLER_FILTER: _context({"kind": "jwt", "challenge": challenge}),
        PROOF_FILTER: _chain("envoy.filters.http.jwt_authn", _jwt_filter(jwt)),
        CLAIMS_FILTER: _context(context),
    }


def _jwt_filter(jwt: JwtSettings) -> JsonObject:
    source: JsonObject = {"local_jwks": {"inline_string": jwt.jwks}}
    if jwt.url:
        uri = {"uri": jwt.url, "cluster": cluster_of(jwt.url, jwt.ca), "timeout": "5s"}
        retries = {"num_retries": 2, "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}
        source = {
            "remote_jwks": {
                "http_uri": uri,
                "cache_duration": f"{MAX_JWKS_SECONDS}s",
                "retry_policy": retries,
                "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
            }
        }
    provider = {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        **source,
        "forward": jwt.forward,
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "require_expiration": True,
        "clock_skew_seconds": CLOCK_SKEW_SECONDS,
        "payload_in_metadata": "payload",
        "header_in_metadata": "header",
    }
    return typed(
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"issuer": provider},
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
    )


def _external(external: ExternalSettings) -> JsonObject:
    parts = urlsplit(external.url)

    def named(*headers: str) -> JsonObject:
        return {"patterns": [{"exact": name.lower(), "ignore_case": True} for name in headers]}

    uri = f"{parts.scheme}://{parts.netloc}"
    service: JsonObject = {
        "server_uri": {"uri": uri, "cluster": cluster_of(external.url), "timeout": f"{external.timeout}s"},
        "path_prefix": parts.path.rstrip("/"),
        "authorization_response": {
            "allowed_client_headers": named("www-authenticate", "location", "set-cookie"),
        },
    }
    if external.receive:
        service["authorization_response"]["allowed_upstream_headers"] = named(*external.receive)
    return typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        http_service=service,
        allowed_headers=named("authorization", "cookie", *external.send),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        validate_mutations=True,
    )


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}[parts.scheme]


def server_cluster(name: str, url: str, ca: str | None = None) -> JsonObject:
    """Return a cluster of a server that the gateway itself asks.

    Args:
        name: the cluster's.
        url: where it is, `http` or `https`.
        ca: the authority of its certificate, PEM; None: those that the image knows.
    """
    parts = urlsplit(url)
    host = str(parts.hostname)
    endpoint = {"address": {"socket_address": {"address": host, "port_value": _port_of(url)}}}
    trust: JsonObject = {"transport_socket": _tls(host, ca)} if parts.scheme == "https" else {}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        cluster_type={"name": "envoy.cluster.dns", "typed_config": dns_cluster()},
        load_assignment={"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        connect_timeout="3s",
        **trust,
    )


def _tls(host: str, ca: str | None) -> JsonObject:
    """Return how a server is known: by its name, from somebody who is trusted."""
    try:
        ip_address(host)
        kind, name = "IP_ADDRESS", {}
    except ValueError:
        kind, name = "DNS", {"sni": host}
    trusted: JsonObject = {"inline_string": ca} if ca else {"filename": IMAGE_CERTIFICATES}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            common_tls_context={
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "validation_context": {
                    "trusted_ca": trusted,
                    "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
                },
            },
            **name,
        ),
    }
