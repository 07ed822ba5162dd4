"""How requests come in: by routes of a Gateway, the stack's own or one that exists, or by an Ingress; or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import Namespace, Service, ServicePortArgs, ServiceSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import (
    HTTPIngressPathArgs,
    HTTPIngressRuleValueArgs,
    Ingress,
    IngressBackendArgs,
    IngressRuleArgs,
    IngressServiceBackendArgs,
    IngressSpecArgs,
    IngressTLSArgs,
    ServiceBackendPortArgs,
)
from slipway.model.stack import Stack, gateway_namespace_of
from slipway.model.workspace import Workspace

from infra.targets.kubernetes.place import NAMESPACE, Place, Plot

API = "gateway.networking.k8s.io/v1"
GATEWAY = "gateway"
"""The name of the stack's own Gateway; no service may have it."""
UNAWAITED = {"pulumi.com/skipAwait": "true"}
"""Not to be waited for: the Deployment says whether pods are there; not each Ingress controller tells its address."""


@dataclass(frozen=True)
class Entrance:
    """What routes are attached to (`parents` of an HTTPRoute), and the resources that it is made of."""

    parents: tuple[Mapping[str, str], ...] = ()
    resources: tuple[pulumi.Resource, ...] = ()


def entrance(place: Place) -> Entrance:
    """Declare the stack's own Gateway where it has one, or return the one that its settings name.

    The Gateway has a namespace of its own: many products run it as pods beside it, which may not run as the services do
    and come from other registries.
    """
    if place.stack.parent:
        where, _, name = place.stack.parent.partition("/")
        return Entrance(parents=({"namespace": where, "name": name},))
    if not place.stack.gateway:
        return Entrance()
    name = gateway_namespace_of(place.workspace.deployed_name, place.stack)
    namespace = Namespace(name, metadata=place.of_cluster(name), opts=place.opts())
    gateway = _gateway(place, name, namespace)
    secure = bool(place.stack.tls)
    parent = {"namespace": name, "name": GATEWAY}
    resources: list[pulumi.Resource] = [namespace, gateway]
    if secure:
        resources.append(_redirect(place, parent, gateway))
    return Entrance(({**parent, "sectionName": "https" if secure else "http"},), tuple(resources))


def to(mine: Plot, entrance: Entrance) -> list[pulumi.Resource]:
    """Declare what leads to a service: the name that others call it by, and the route from outside where it has one."""
    if mine.service.settings.port is None:
        return []
    inside = Service(
        mine.name,
        metadata=mine.metadata(annotations=UNAWAITED),
        spec=ServiceSpecArgs(
            type="ClusterIP",
            selector=mine.selector,
            ports=[ServicePortArgs(name="http", port=mine.service.settings.port, target_port="http")],
        ),
        opts=mine.opts(),
    )
    if mine.service.settings.route and entrance.parents:
        return [inside, _route(mine, entrance)]
    if mine.service.settings.route and mine.place.stack.ingress:
        return [inside, _ingress(mine)]
    return [inside]


def urls(workspace: Workspace, stack: Stack) -> dict[str, str]:
    """Return each routed service's URL; none where nothing is exposed, or where the host is not the stack's to know."""
    if not stack.host:
        return {}
    address = f"{'https' if stack.tls else 'http'}://{stack.host}"
    return {
        service.name: f"{address}{service.settings.route}" for service in workspace.services if service.settings.route
    }


def _gateway(place: Place, namespace: str, after: pulumi.Resource) -> CustomResource:
    routes_from = {
        "namespaces": {"from": "Selector", "selector": {"matchLabels": {NAMESPACE: place.namespace}}},
    }
    host = {"hostname": place.stack.host} if place.stack.host else {}
    listeners: list[dict[str, Any]] = [
        {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": routes_from, **host}
    ]
    if place.stack.tls:
        tls = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": place.stack.tls}]}
        listeners.append(
            {"name": "https", "protocol": "HTTPS", "port": 443, "allowedRoutes": routes_from, "tls": tls, **host}
        )
    return CustomResource(
        GATEWAY,
        api_version=API,
        kind="Gateway",
        metadata=ObjectMetaArgs(name=GATEWAY, namespace=namespace, labels=place.labels),
        spec={"gatewayClassName": place.stack.gateway, "listeners": listeners},
        opts=place.opts([after]),
    )


def _redirect(place: Place, gateway: Mapping[str, str], after: pulumi.Resource) -> CustomResource:
    """Declare that whoever comes without TLS is sent to the same address with it."""
    to_tls = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
    name = "slipway.redirect"
    return CustomResource(
        name,
        api_version=API,
        kind="HTTPRoute",
        metadata=place.metadata(name),
        spec={"parentRefs": [{**gateway, "sectionName": "http"}], "rules": [{"filters": [to_tls]}]},
        opts=place.opts([after]),
    )


def _route(mine: Plot, entrance: Entrance) -> CustomResource:
    path = {"type": "PathPrefix", "value": mine.service.settings.route}
    backend = {"name": mine.name, "port": mine.service.settings.port}
    host = {"hostnames": [mine.place.stack.host]} if mine.place.stack.host else {}
    return CustomResource(
        mine.name,
        api_version=API,
        kind="HTTPRoute",
        metadata=mine.metadata(),
        spec={
            "parentRefs": [dict(each) for each in entrance.parents],
            **host,
            "rules": [{"matches": [{"path": path}], "backendRefs": [backend]}],
        },
        opts=mine.opts(entrance.resources),
    )


def _ingress(mine: Plot) -> Ingress:
    stack, settings = mine.place.stack, mine.service.settings
    path = HTTPIngressPathArgs(
        path=settings.route,
        path_type="Prefix",
        backend=IngressBackendArgs(
            service=IngressServiceBackendArgs(name=mine.name, port=ServiceBackendPortArgs(name="http"))
        ),
    )
    secure = IngressTLSArgs(secret_name=stack.tls, hosts=[stack.host] if stack.host else None)
    return Ingress(
        mine.name,
        metadata=mine.metadata(annotations=UNAWAITED),
        spec=IngressSpecArgs(
            ingress_class_name=stack.ingress,
            rules=[IngressRuleArgs(host=stack.host, http=HTTPIngressRuleValueArgs(paths=[path]))],
            tls=[secure] if stack.tls else None,
        ),
        opts=mine.opts(),
    )
