"""Resources for Kong's ingress controller: an HTTPRoute for each route, KongPlugins for its rules, KongConsumers.

A consumer's key is a Secret of the cluster, which is named here and never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway._internal.commands.kong_plugins import rule_plugins
from slipway._internal.commands.kong_scripts import caller_script
from slipway._internal.model.auth import AuthSettings, ConsumerSettings
from slipway._internal.model.engine_routes import EngineRoute
from slipway._internal.model.routes import HeaderSettings, RouteSettings

GATEWAY_API = "gateway.networking.k8s.io/v1"
KONG_API = "configuration.konghq.com/v1"
CREDENTIAL = "konghq.com/credential"
"""The label by which the controller knows what a Secret is for."""
INGRESS_CLASS = {"kubernetes.io/ingress.class": "kong"}
Resource = dict[str, Any]


def render_kong_resources(
    routes: Sequence[EngineRoute], consumers: Mapping[str, ConsumerSettings], parent: Mapping[str, str]
) -> list[Resource]:
    """Return the resources, each after those that it names.

    Args:
        routes: in the order in which they are tried; `check_engine` has let them pass.
        consumers: those of workspace.toml.
        parent: the Gateway that serves the routes, as an HTTPRoute's `parentRefs` names it.
    """
    kinds = {wanted.route.auth.kind for wanted in routes if wanted.route.auth}
    found = [resource for name in sorted(consumers) for resource in _consumer(name, kinds)] if kinds else []
    for wanted in routes:
        plugins = _plugins(wanted, consumers)
        found += [_plugin(wanted, name, config) for name, config in plugins.items()]
        found.append(_route(wanted, [_plugin_name(wanted, name) for name in plugins], parent))
    return found


def key_secret(consumer: str, kind: str) -> str:
    """Return the name of the Secret with a consumer's `key`, or with its `username` and `password`."""
    return f"consumer-{consumer}-{kind}"


def _consumer(name: str, kinds: set[str]) -> Iterator[Resource]:
    group = f"consumer-{name}-acl"
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": group, "labels": {CREDENTIAL: "acl"}},
        "stringData": {"group": name},
    }
    yield {
        "apiVersion": KONG_API,
        "kind": "KongConsumer",
        "metadata": {"name": f"consumer-{name}", "annotations": INGRESS_CLASS},
        "username": name,
        "credentials": [group, *(key_secret(name, kind) for kind in sorted(kinds))],
    }


def _plugins(wanted: EngineRoute, consumers: Mapping[str, ConsumerSettings]) -> dict[str, dict[str, Any]]:
    found = rule_plugins(wanted)
    if auth := wanted.route.auth:
        found |= _auth_plugins(wanted.service.name, auth, consumers)
    if not wanted.route.redirect:
        found["post-function"] = {"access": [caller_script()]}
    return dict(sorted(found.items()))


def _auth_plugins(service: str, auth: AuthSettings, consumers: Mapping[str, ConsumerSettings]) -> dict[str, Any]:
    allowed = list(auth.allowed_consumers(consumers))
    # The list of an `acl` has to name somebody; no group is called so.
    acl = {"acl": {"allow": allowed or ["-"], "hide_groups_header": True}}
    if keys := auth.key_settings:
        proof = {"key_names": [keys.header.lower()], "key_in_query": False, "key_in_body": False}
        return {"key-auth": {**proof, "key_in_header": True, "hide_credentials": True, "realm": service}, **acl}
    return {"basic-auth": {"hide_credentials": True, "realm": service}, **acl}


def _plugin(wanted: EngineRoute, name: str, config: Mapping[str, Any]) -> Resource:
    return {
        "apiVersion": KONG_API,
        "kind": "KongPlugin",
        "metadata": {"name": _plugin_name(wanted, name), "annotations": INGRESS_CLASS},
        "plugin": name,
        "config": dict(config),
    }


def _plugin_name(wanted: EngineRoute, plugin: str) -> str:
    return f"{wanted.name}.{plugin}"


def _route(wanted: EngineRoute, plugins: Sequence[str], parent: Mapping[str, str]) -> Resource:
    route = wanted.route
    annotations = {"konghq.com/plugins": ",".join(plugins)}
    if route.strip and route.path != "/":
        annotations["konghq.com/strip-path"] = "true"
    return {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": wanted.name, "annotations": annotations},
        "spec": {
            "parentRefs": [dict(parent)],
            **({"hostnames": list(wanted.hosts)} if wanted.hosts else {}),
            "rules": list(_rules(wanted)),
        },
    }


def _rules(wanted: EngineRoute) -> Iterator[dict[str, Any]]:
    """Yield a rule for each method: one that changes the path has one match."""
    route, path = wanted.route, {"type": "PathPrefix", "value": wanted.route.path}
    filters = list(_filters(route))
    for match in [{"path": path, "method": method} for method in route.methods] or [{"path": path}]:
        yield {
            "matches": [match],
            **({"filters": filters} if filters else {}),
            # A redirect's plugin answers before anything is sent there.
            "backendRefs": [{"name": wanted.service.name, "port": wanted.service.settings.port}],
        }


def _filters(route: RouteSettings) -> Iterator[dict[str, Any]]:
    for kind, headers in (
        ("requestHeaderModifier", route.request_headers),
        ("responseHeaderModifier", route.response_headers),
    ):
        if headers != HeaderSettings():
            named = [{"name": name, "value": value} for name, value in headers.set.items()]
            changes = {"set": named, "remove": list(headers.remove)}
            yield {
                "type": f"{kind[0].upper()}{kind[1:]}",
                kind: {change: entries for change, entries in changes.items() if entries},
            }
    if route.rewrite is not None and route.rewrite != route.path:
        replaced = {"type": "ReplacePrefixMatch", "replacePrefixMatch": route.rewrite}
        yield {"type": "URLRewrite", "urlRewrite": {"path": replaced}}
