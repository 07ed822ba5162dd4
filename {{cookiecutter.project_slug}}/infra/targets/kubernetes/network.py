"""Who may talk with whom: nobody, but for what services need of each other, and what the stack's settings open."""

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
from slipway.model import peers
from slipway.model.workspace import Service

from infra.targets.kubernetes.place import NAMESPACE, Place, Plot, selector

BOTH = ("Ingress", "Egress")
DNS_NAMESPACE = "kube-system"
DNS_ON_NODE = "169.254.20.10/32"
"""Where a node's own DNS cache listens, in clusters that have one."""


def closed(place: Place) -> Iterator[NetworkPolicy]:
    """Declare what holds for all pods of the namespace: nothing goes in or out but questions for names, and what
    `slipway:egress-to` names."""
    yield _policy(place, "slipway.closed", LabelSelectorArgs(), types=BOTH)
    resolvers = [_namespace(DNS_NAMESPACE), NetworkPolicyPeerArgs(ip_block=IPBlockArgs(cidr=DNS_ON_NODE))]
    ports = [NetworkPolicyPortArgs(protocol=protocol, port=53) for protocol in ("UDP", "TCP")]
    names = NetworkPolicyEgressRuleArgs(to=resolvers, ports=ports)
    yield _policy(place, "slipway.names", LabelSelectorArgs(), egress=[names], types=["Egress"])
    if others := list(_peers(place.stack.egress_to)):
        outside = NetworkPolicyEgressRuleArgs(to=others)
        yield _policy(place, "slipway.egress", LabelSelectorArgs(), egress=[outside], types=["Egress"])


def opened(mine: Plot) -> list[NetworkPolicy]:
    """Declare what is open for one service: to those that it needs, and from those that need it or bring requests."""
    place, service = mine.place, mine.service
    callers = [each for each in place.workspace.services if service.name in each.settings.needs]
    needed = [place.workspace.service(name) for name in sorted(service.settings.needs)]
    ingress = [_from_callers(place, service, callers)] if callers else []
    if service.settings.route and exposed(place):
        ingress.append(_from_outside(place, service))
    egress = [NetworkPolicyEgressRuleArgs(to=[_pods(place, each)], ports=[_port(each)]) for each in needed]
    types = [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules]
    if not types:
        return []
    policy = NetworkPolicy(
        mine.name,
        metadata=mine.metadata(),
        spec=NetworkPolicySpecArgs(
            pod_selector=LabelSelectorArgs(match_labels=mine.selector),
            ingress=ingress or None,
            egress=egress or None,
            policy_types=types,
        ),
        opts=mine.opts(),
    )
    return [policy]


def exposed(place: Place) -> bool:
    """Whether anything outside the namespace brings requests."""
    return bool(place.stack.gateway or place.stack.parent or place.stack.ingress)


def _from_callers(place: Place, service: Service, callers: Iterable[Service]) -> NetworkPolicyIngressRuleArgs:
    return NetworkPolicyIngressRuleArgs(from_=[_pods(place, each) for each in callers], ports=[_port(service)])


def _from_outside(place: Place, service: Service) -> NetworkPolicyIngressRuleArgs:
    """Return whence requests come; a rule without peers is for all: each product runs its gateways elsewhere."""
    anywhere = peers.ANYWHERE in place.stack.ingress_from
    return NetworkPolicyIngressRuleArgs(
        from_=None if anywhere else list(_peers(place.stack.ingress_from)), ports=[_port(service)]
    )


def _peers(named: Iterable[str]) -> Iterator[NetworkPolicyPeerArgs]:
    for each in named:
        if each == peers.INTERNET:
            for whole, private in peers.PRIVATE.items():
                yield NetworkPolicyPeerArgs(ip_block=IPBlockArgs(cidr=whole, except_=list(private)))
        elif peers.is_range(each):
            yield NetworkPolicyPeerArgs(ip_block=IPBlockArgs(cidr=each))
        elif each != peers.NOWHERE:
            yield _namespace(each)


def _namespace(name: str) -> NetworkPolicyPeerArgs:
    return NetworkPolicyPeerArgs(namespace_selector=LabelSelectorArgs(match_labels={NAMESPACE: name}))


def _pods(place: Place, service: Service) -> NetworkPolicyPeerArgs:
    return NetworkPolicyPeerArgs(pod_selector=LabelSelectorArgs(match_labels=selector(place, service.name)))


def _port(service: Service) -> NetworkPolicyPortArgs:
    return NetworkPolicyPortArgs(protocol="TCP", port=service.settings.port)


def _policy(
    place: Place,
    name: str,
    pods: LabelSelectorArgs,
    *,
    types: Sequence[str],
    egress: Sequence[NetworkPolicyEgressRuleArgs] | None = None,
) -> NetworkPolicy:
    """Declare a policy of the whole namespace; its name has a dot, so no service's is the same."""
    spec = NetworkPolicySpecArgs(pod_selector=pods, policy_types=list(types), egress=egress)
    return NetworkPolicy(name, metadata=place.metadata(name), spec=spec, opts=place.opts())
