"""Runs a stack's services on a Docker engine: a network, a container for each service, and the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pulumi

from slipway._internal.commands.gateway_options import options_as_inputs
from slipway._internal.model import lock
from slipway._internal.model.auth import with_files
from slipway._internal.model.canary import canary_image_name
from slipway._internal.model.request_limits import NO_TIMEOUTS, effective_limits
from slipway._internal.model.routes import RouteSettings
from slipway._internal.model.stack import gateway_port_of, metrics_port_of, speaks_tls, tls_port_of
from slipway._internal.model.start_order import backing_needs, in_start_order
from slipway._internal.model.workspace import JobSettings, Service, ServiceSettings
from slipway._internal.provider.resources import (
    Container,
    Gateway,
    HealthcheckArgs,
    Job,
    Network,
    ReleaseCommand,
    RouteArgs,
)
from slipway._internal.run import engine
from slipway._internal.run.resource_tree import FLAT_STATE
from slipway._internal.targets.docker.gateway_settings import (
    gateway_consumers,
    gateway_options,
    kept_of_gateway,
    service_urls,
)
from slipway._internal.targets.docker.gateway_tls import read_tls
from slipway._internal.targets.docker.unsupported_rules import refuse_for_envoy
from slipway._internal.targets.services import ServicesArgs


class DockerServices(pulumi.ComponentResource):
    """A stack's services on a Docker engine; a container is removed only after its successor is healthy.

    Args:
        name: its name in the state: the stack's name.
        args: what runs; `images` also has the gateway's image.
        opts: Pulumi's options. `transforms` apply to the network, the containers and the gateway.

    Attributes:
        network: the network of the containers and the gateway.
        containers: each service's container, the first where it has several.
        replicas: all containers of each service.
        canaries: the container of each canary that is under way.
        jobs: each job, in a container that starts its program at its times.
        gateway: forwards requests to the services that have a route.
        urls: the URL of each service that has a route.
    """

    network: Network
    containers: dict[str, Container]
    replicas: dict[str, list[Container]]
    canaries: dict[str, Container]
    jobs: dict[str, Job]
    gateway: Gateway
    urls: dict[str, str]

    def __init__(self, name: str, args: ServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("slipway:docker:DockerServices", name, None, opts)
        self._args = args
        self._release_commands: dict[str, list[ReleaseCommand]] = {}
        self._child_opts = pulumi.ResourceOptions(parent=self, aliases=[FLAT_STATE])
        workspace, stack = args.workspace, args.stack
        self.network = Network(
            stack.name,
            name=f"{workspace.deployed_name}-{stack.name}",
            labels={engine.WORKSPACE_LABEL: workspace.deployed_name, engine.STACK_LABEL: stack.name},
            opts=self._child_opts,
        )
        self.containers = {}
        self.replicas, self.canaries, self.jobs = {}, {}, {}
        for service in in_start_order(args.services):
            if service.settings.job:
                self.jobs[service.name] = self._declare_job(service, service.settings.job)
            else:
                self.replicas[service.name] = self._declare_replicas(service)
                self.containers[service.name] = self.replicas[service.name][0]
            if service.name in self._canary_shares:
                self.canaries[service.name] = self._declare_canary(service)
        routed = [service for service in args.services if service.routes]
        self.gateway = self._declare_gateway(routed)
        self.urls = service_urls(workspace, stack, routed)
        self.register_outputs({})

    def _declare_gateway(self, routed: list[Service]) -> Gateway:
        workspace, stack = self._args.workspace, self._args.stack
        refuse_for_envoy(workspace, routed)
        tls = read_tls(workspace, stack, routed)
        return Gateway(
            stack.name,
            workspace=workspace.deployed_name,
            stack=stack.name,
            image=self._args.images[lock.GATEWAY],
            network=self.network.network_name,
            bind=workspace.settings.gateway.bind,
            port=gateway_port_of(workspace, stack),
            routes=[self._route(service, route) for service in routed for route in service.ruled_routes],
            options=options_as_inputs(gateway_options(workspace, stack, routed, tls)),
            secrets=tls.secrets,
            consumers=gateway_consumers(workspace, stack),
            canaries={
                name: {
                    "upstream": pulumi.Output.format(
                        "{0}:{1}", canary.container_name, workspace.service(name).settings.port
                    ),
                    "percent": self._canary_shares[name],
                }
                for name, canary in self.canaries.items()
            },
            tls_port=tls_port_of(workspace, stack) if speaks_tls(stack) else None,
            metrics_port=metrics_port_of(workspace, stack),
            http3_port=tls_port_of(workspace, stack) if stack.http3 else None,
            drain_seconds=max((service.settings.drain for service in routed), default=None),
            opts=pulumi.ResourceOptions.merge(
                self._opts_after([replica for service in routed for replica in self.replicas[service.name][1:]]),
                pulumi.ResourceOptions(ignore_changes=kept_of_gateway(stack.canary_change)),
            ),
        )

    def _route(self, service: Service, route: RouteSettings) -> RouteArgs:
        """Return one of the gateway's routes to a service, with the limits on the size and duration of requests."""
        resolved = with_files(route.auth, service.folder) if route.auth else None
        rules = msgspec.to_builtins(msgspec.structs.replace(route, body=None, timeouts=NO_TIMEOUTS, auth=resolved))
        limits = effective_limits(route, service.settings.gateway, self._args.workspace.settings.gateway)
        container = self.containers[service.name]
        declared = RouteArgs(
            service=service.name,
            route=rules.pop("path"),
            upstream=pulumi.Output.format("{0}:{1}", container.container_name, service.settings.port),
            body=limits.body,
            connect=limits.connect,
            idle=limits.idle,
            health=service.settings.health or "",
        )
        if rules:
            declared["rules"] = rules
        if service.settings.protocol != "http":
            declared["protocol"] = service.settings.protocol
        return declared

    def _declare_replicas(self, service: Service) -> list[Container]:
        """Declare a service's containers, each after the one before: so many start at a time that one would.

        The gateway knows the first by its name. The others share that name on the network: who looks it up finds all
        that run, so one that dies is asked no more. When the first is replaced, the others are, too.
        """
        after = [*self._backing(service), *self._declare_release_command(service)]
        replicas = [self._declare_container(service, service.name, after)]
        for number in range(2, 1 + (1 if self._args.stack.single else service.settings.scale.min)):
            name = f"{service.name}{engine.REPLICA_SEPARATOR}{number}"
            replicas.append(self._declare_container(service, name, replicas[-1:], replicas[0].container_name))
        return replicas

    def _declare_canary(self, service: Service) -> Container:
        """Declare the container of a service's canary: as the service's own, of another image; a step leaves it so."""
        after = [*self._backing(service), *self._release_commands.get(service.name, ())]
        return self._declare_container(service, canary_image_name(service.name), after, is_canary=True)

    @property
    def _canary_shares(self) -> dict[str, int]:
        return {canary.service: canary.percent for canary in self._args.stack.canaries or ()}

    def _newest_image(self, service: Service) -> pulumi.Input[str]:
        """Return the image that a service is on the way to: its canary's, if it has one."""
        return self._args.images.get(canary_image_name(service.name), self._args.images[service.name])

    def _declare_container(
        self,
        service: Service,
        name: str,
        after: Sequence[pulumi.Resource],
        group: pulumi.Output[str] | None = None,
        *,
        is_canary: bool = False,
    ) -> Container:
        """Declare a service's container: image by digest, environment, secrets as files, and limits."""
        settings = service.settings
        inputs = self._common_inputs(service)
        if is_canary:
            inputs |= {"image": self._newest_image(service), "canary": True}
        kept = ["*"] if is_canary else None  # it stays as it began, whatever the files say meanwhile
        return Container(
            name,
            **inputs,
            port=settings.port,
            group=group,
            health_timeout=settings.start_timeout,
            drain_seconds=settings.drain,
            volumes={volume.name: volume.path for volume in settings.volumes},
            healthcheck=_healthcheck(settings),
            opts=pulumi.ResourceOptions.merge(self._opts_after(after), pulumi.ResourceOptions(ignore_changes=kept)),
        )

    def _declare_job(self, service: Service, job: JobSettings) -> Job:
        return Job(
            service.name,
            **self._common_inputs(service),
            schedule=job.schedule,
            drain_seconds=service.settings.drain,
            opts=self._opts_after(self._backing(service)),
        )

    def _declare_release_command(self, service: Service) -> list[ReleaseCommand]:
        """Declare what runs before a new image of a service serves, if it has such a command."""
        if not service.settings.release:
            return []
        command = ReleaseCommand(
            service.name,
            target="docker",
            release=service.settings.release,
            rolls_back=self._args.stack.rolls_back,
            **{**self._common_inputs(service), "image": self._newest_image(service)},
            opts=self._opts_after(self._backing(service)),
        )
        self._release_commands[service.name] = [command]
        return [command]

    def _common_inputs(self, service: Service) -> dict[str, Any]:
        """Return what all containers of a service are made from."""
        settings = service.settings
        return {
            "workspace": self._args.workspace.deployed_name,
            "stack": self._args.stack.name,
            "service": service.name,
            "image": self._args.images[service.name],
            "network": self.network.network_name,
            "env": self._args.environment(service),
            "secrets": self._args.secrets.get(service.name),
            "memory": settings.resources.memory,
            "cpus": settings.resources.cpus,
            "tmp_exec": settings.tmp.exec,
            "tmp_size": settings.tmp.size,
            "entrypoint": settings.entrypoint or None,
            "command": settings.command or None,
            "read_only": None if settings.security.read_only else False,
            "capabilities": settings.security.capabilities or None,
            "user": settings.security.user,
        }

    def _backing(self, service: Service) -> list[pulumi.Resource]:
        """Return the containers of the backing services that a service needs: it starts when they are healthy."""
        return [self.replicas[name][-1] for name in backing_needs(service, self._args.services)]

    def _opts_after(self, resources: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._child_opts, pulumi.ResourceOptions(depends_on=resources))


def _healthcheck(settings: ServiceSettings) -> HealthcheckArgs | None:
    check = settings.healthcheck
    if check is None:
        return None
    return HealthcheckArgs(
        command=check.command,
        interval=check.interval,
        timeout=check.timeout,
        startPeriod=check.start_period,
        retries=check.retries,
    )
