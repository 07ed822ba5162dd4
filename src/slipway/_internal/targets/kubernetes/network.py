"""Network policies: deny all traffic except what services need from each other and what the stack's settings allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pulumi_kubernetes.meta.v1 import LabelSelectorArgs
from pulumi_kubernetes.networking.v1 import (
    IPBlockArgs,
    NetworkPolicy,
    NetworkPolicyEgressRuleArgs,
    NetworkPolicyIngressRuleArgs,
    NetworkPolicyPeerArgs,
    NetworkPolicyPortArgs,
    NetworkPolicySpecArgs,
)

from slipway._internal.model import peers
from slipway._internal.model.canary import canary_object_name
from slipway._internal.model.workspace import Service
from slipway._internal.targets.kubernetes.context import (
    NAMESPACE_LABEL,
    KubernetesContext,
    ServiceContext,
    pod_selector,
)
from slipway._internal.targets.kubernetes.policies import is_asked_about_callers

ALL_POLICY_TYPES = ("Ingress", "Egress")
DNS_NAMESPACE = "kube-system"
NODE_DNS_CIDR = "169.254.20.10/32"
"""The address of a node-local DNS cache, in clusters that have one."""


def default_deny(stack_ctx: KubernetesContext) -> None:
    """Deny all traffic of the namespace's pods except DNS queries and what `slipway:egress-to` names."""
    _namespace_policy(stack_ctx, "slipway.closed", LabelSelectorArgs(), types=ALL_POLICY_TYPES)
    resolvers = [_namespace_peer(DNS_NAMESPACE), NetworkPolicyPeerArgs(ip_block=IPBlockArgs(cidr=NODE_DNS_CIDR))]
    ports = [NetworkPolicyPortArgs(protocol=protocol, port=53) for protocol in ("UDP", "TCP")]
    names = NetworkPolicyEgressRuleArgs(to=resolvers, ports=ports)
    _namespace_policy(stack_ctx, "slipway.names", LabelSelectorArgs(), egress=[names], types=["Egress"])
    if others := list(_named_peers(stack_ctx.stack.egress_to)):
        outside = NetworkPolicyEgressRuleArgs(to=others)
        _namespace_policy(stack_ctx, "slipway.egress", LabelSelectorArgs(), egress=[outside], types=["Egress"])


def allow_service(ctx: ServiceContext) -> list[NetworkPolicy]:
    """Allow one service's traffic: to services that it needs, and from those that need it or send it requests."""
    stack_ctx, service = ctx.stack_ctx, ctx.service
    callers = [other for other in stack_ctx.workspace.services if service.name in other.settings.needs]
    needs = [stack_ctx.workspace.service(name) for name in sorted(service.settings.needs)]
    ingress = [_callers_rule(stack_ctx, service, callers)] if callers else []
    asks = stack_ctx.stack.gateway_policies and is_asked_about_callers(stack_ctx, service)
    if (service.routes or asks) and is_exposed(stack_ctx):
        ingress.append(_outside_rule(stack_ctx, service))
    egress = [
        NetworkPolicyEgressRuleArgs(to=[_pods_peer(stack_ctx, other)], ports=[_policy_port(other)]) for other in needs
    ]
    types = [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules]
    if not types:
        return []
    policy = NetworkPolicy(
        ctx.name,
        metadata=ctx.metadata(),
        spec=NetworkPolicySpecArgs(
            pod_selector=LabelSelectorArgs(match_labels=ctx.selector),
            ingress=ingress or None,
            egress=egress or None,
            policy_types=types,
        ),
        opts=ctx.opts(),
    )
    return [policy]


def is_exposed(stack_ctx: KubernetesContext) -> bool:
    """Whether requests come from outside the namespace."""
    return bool(stack_ctx.stack.gateway or stack_ctx.stack.parent or stack_ctx.stack.ingress)


def _callers_rule(
    stack_ctx: KubernetesContext, service: Service, callers: Iterable[Service]
) -> NetworkPolicyIngressRuleArgs:
    return NetworkPolicyIngressRuleArgs(
        from_=[peer for caller in callers for peer in _caller_peers(stack_ctx, caller)], ports=[_policy_port(service)]
    )


def _outside_rule(stack_ctx: KubernetesContext, service: Service) -> NetworkPolicyIngressRuleArgs:
    """Return the rule for requests from outside; without peers it allows all, as gateways run in various places."""
    anywhere = peers.ANYWHERE in stack_ctx.stack.ingress_from
    return NetworkPolicyIngressRuleArgs(
        from_=None if anywhere else list(_named_peers(stack_ctx.stack.ingress_from)), ports=[_policy_port(service)]
    )


def _named_peers(names: Iterable[str]) -> Iterator[NetworkPolicyPeerArgs]:
    for name in names:
        if name == peers.INTERNET:
            for whole, private in peers.PRIVATE.items():
                yield NetworkPolicyPeerArgs(ip_block=IPBlockArgs(cidr=whole, except_=list(private)))
        elif peers.is_range(name):
            yield NetworkPolicyPeerArgs(ip_block=IPBlockArgs(cidr=name))
        elif name != peers.NOWHERE:
            yield _namespace_peer(name)


def _namespace_peer(name: str) -> NetworkPolicyPeerArgs:
    return NetworkPolicyPeerArgs(namespace_selector=LabelSelectorArgs(match_labels={NAMESPACE_LABEL: name}))


def _pods_peer(stack_ctx: KubernetesContext, service: Service) -> NetworkPolicyPeerArgs:
    return NetworkPolicyPeerArgs(pod_selector=LabelSelectorArgs(match_labels=pod_selector(stack_ctx, service.name)))


def _caller_peers(stack_ctx: KubernetesContext, caller: Service) -> Iterator[NetworkPolicyPeerArgs]:
    """Yield the pods of a caller, and those of its canary, if it has one: they call what it calls."""
    yield _pods_peer(stack_ctx, caller)
    if any(canary.service == caller.name for canary in stack_ctx.stack.canaries or ()):
        labels = pod_selector(stack_ctx, canary_object_name(caller.name))
        yield NetworkPolicyPeerArgs(pod_selector=LabelSelectorArgs(match_labels=labels))


def _policy_port(service: Service) -> NetworkPolicyPortArgs:
    return NetworkPolicyPortArgs(protocol="TCP", port=service.settings.port)


def _namespace_policy(
    stack_ctx: KubernetesContext,
    name: str,
    pods: LabelSelectorArgs,
    *,
    types: Sequence[str],
    egress: Sequence[NetworkPolicyEgressRuleArgs] | None = None,
) -> NetworkPolicy:
    """Declare a policy for the whole namespace; the dot in its name keeps it apart from those of services."""
    spec = NetworkPolicySpecArgs(pod_selector=pods, policy_types=list(types), egress=egress)
    return NetworkPolicy(name, metadata=stack_ctx.metadata(name), spec=spec, opts=stack_ctx.opts())
