"""Runs the services on a Docker engine: a network, a container for each service, and the gateway before them."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from slipway._internal.model import lock
from slipway._internal.model.environment import service_environment
from slipway._internal.model.request_limits import effective_limits
from slipway._internal.model.stack import Stack, gateway_port_of
from slipway._internal.model.workspace import Service, Workspace
from slipway._internal.rollout.gateway import gateway_url
from slipway._internal.run import engine
from slipway.pulumi import Container, Gateway, Network, RouteArgs

from infra.secrets import Secrets
from infra.targets import DeployedResources


def deploy(
    workspace: Workspace,
    stack: Stack,
    images: Mapping[str, pulumi.Input[str]],
    secrets: Mapping[str, Secrets],
) -> DeployedResources:
    """Declare the stack's network, containers and gateway; a container goes only after its successor is healthy.

    Jobs are left out: an engine has nothing that starts them at their times.
    """
    network = Network(
        stack.name,
        name=f"{workspace.deployed_name}-{stack.name}",
        labels={engine.WORKSPACE_LABEL: workspace.deployed_name, engine.STACK_LABEL: stack.name},
    )
    containers = {
        service.name: declare_container(workspace, stack, service, images[service.name], secrets[service.name], network)
        for service in workspace.services
        if not service.settings.job
    }
    bind, port = workspace.settings.gateway.bind, gateway_port_of(workspace, stack)
    routed = [service for service in workspace.services if service.settings.route]
    gateway = Gateway(
        stack.name,
        workspace=workspace.deployed_name,
        stack=stack.name,
        image=images[lock.GATEWAY],
        network=network.network_name,
        bind=bind,
        port=port,
        routes=[declare_route(workspace, service, containers[service.name]) for service in routed],
        drain_seconds=max((service.settings.drain for service in routed), default=None),
    )
    return DeployedResources(
        urls={service.name: f"{gateway_url(bind, port)}{service.settings.route}" for service in routed},
        resources=[gateway, *containers.values()],
    )


def declare_route(workspace: Workspace, service: Service, container: Container) -> RouteArgs:
    """Declare where the gateway sends a service's requests, and how large and how slow they may be."""
    limits = effective_limits(service.settings.gateway, workspace.settings.gateway)
    return RouteArgs(
        service=service.name,
        route=str(service.settings.route),
        upstream=pulumi.Output.format("{0}:{1}", container.container_name, service.settings.port),
        body=limits.body,
        connect=limits.connect,
        idle=limits.idle,
    )


def declare_container(
    workspace: Workspace,
    stack: Stack,
    service: Service,
    image: pulumi.Input[str],
    secrets: Secrets,
    network: Network,
) -> Container:
    """Declare one service's container: its image by digest, its environment, its secrets as files, its limits."""
    settings = service.settings
    return Container(
        service.name,
        workspace=workspace.deployed_name,
        stack=stack.name,
        service=service.name,
        image=image,
        network=network.network_name,
        env=service_environment(workspace, service, stack.target),
        secrets=secrets,
        port=settings.port,
        memory=settings.resources.memory,
        cpus=settings.resources.cpus,
        health_timeout=settings.start_timeout,
        drain_seconds=settings.drain,
        tmp_exec=settings.tmp.exec,
        tmp_size=settings.tmp.size,
    )
