"""Runs services on Kubernetes: a namespace that denies traffic by default, and each service's objects in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pulumi
from pulumi_kubernetes.core.v1 import Secret

from slipway._internal.model.canary import canary_image_name
from slipway._internal.model.start_order import backing_needs, in_start_order
from slipway._internal.model.workspace import Service
from slipway._internal.targets.connections import Secrets
from slipway._internal.targets.kubernetes import (
    access,
    admission,
    config,
    context,
    network,
    release_job,
    routes,
    scaling,
    workload,
)
from slipway._internal.targets.kubernetes.context import KubernetesContext, ServiceContext
from slipway._internal.targets.kubernetes.routes import EntryPoint
from slipway._internal.targets.services import ServicesArgs


class KubernetesServices(pulumi.ComponentResource):
    """A stack's services on a cluster, in a namespace with the Pod Security Standard `restricted`.

    Args:
        name: its name in the state: the stack's name.
        args: what runs.
        opts: Pulumi's options. `transforms` apply to every object in the cluster.

    Attributes:
        services: each service's component.
        urls: the URL of each service that has a route, if the stack's host is known.

    Raises:
        ConfigError: the namespace's name, the kubeconfig or a service's Dockerfile is invalid.
    """

    services: dict[str, KubernetesService]
    urls: dict[str, str]

    def __init__(self, name: str, args: ServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("slipway:kubernetes:KubernetesServices", name, None, opts)
        stack_ctx = context.declare_namespace(args.workspace, args.stack, self)
        network.default_deny(stack_ctx)
        admission.declare_admission_policy(stack_ctx)
        pull_secret = access.declare_pull_secret(stack_ctx)
        entry_point = routes.declare_entry_point(stack_ctx)
        self.services = {}
        for service in in_start_order(args.services):
            backing = [self.services[name].workload for name in backing_needs(service, args.services)]
            self.services[service.name] = KubernetesService(
                service,
                stack_ctx,
                image=args.images[service.name],
                canary=args.images.get(canary_image_name(service.name)),
                secrets=args.secrets.get(service.name, {}),
                pull_secret=pull_secret,
                entry_point=entry_point,
                after=backing,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.urls = routes.service_urls(args.workspace, args.stack)
        self.register_outputs({})


class KubernetesService(pulumi.ComponentResource):
    """One service on a cluster: its workload, account, settings, network access, and scaling.

    Args:
        service: the service.
        stack_ctx: the stack's namespace and cluster.
        image: its image by digest.
        canary: the image of its canary by digest, if one is under way: its pods are ready before they get a request.
        secrets: its run-time secrets.
        pull_secret: the login that images are pulled with, if there is one.
        entry_point: what routes from outside attach to.
        after: the workloads of the backing services that it needs: it starts when they are ready.
        opts: Pulumi's options.

    Attributes:
        workload: its Deployment, or its CronJob.
    """

    workload: pulumi.Resource

    def __init__(
        self,
        service: Service,
        stack_ctx: KubernetesContext,
        *,
        image: pulumi.Input[str],
        canary: pulumi.Input[str] | None = None,
        secrets: Secrets,
        pull_secret: Secret | None,
        entry_point: EntryPoint,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("slipway:kubernetes:KubernetesService", service.name, None, opts)
        ctx = ServiceContext(stack_ctx, service, self)
        service_config = config.declare_config(ctx, secrets)
        account = access.declare_service_account(ctx)
        policies = network.allow_service(ctx)
        pod = workload.PodInputs(image, service_config, pull_secret)
        ready = [account, *service_config.resources, *policies, *after]
        newest = pod if canary is None else replace(pod, image=canary)
        released = release_job.declare_release_command(ctx, newest, ready)
        self.workload = workload.declare_workload(ctx, pod, after=[*ready, *released])
        scaling.declare_scaling(ctx, self.workload)
        if canary is not None:
            workload_of_canary = _declare_canary(replace(ctx, is_canary=True), newest, secrets, [*after, *released])
            entry_point = replace(entry_point, resources=(*entry_point.resources, workload_of_canary))
        routes.expose_service(ctx, entry_point)
        self.register_outputs({})


def _declare_canary(
    ctx: ServiceContext, pod: workload.PodInputs, secrets: Secrets, after: Sequence[pulumi.Resource]
) -> pulumi.Resource:
    """Declare the objects of a service's canary, and return its Deployment. No route leads to it by itself."""
    own_config = config.declare_config(ctx, secrets)
    account = access.declare_service_account(ctx)
    policies = network.allow_service(ctx)
    ready = [account, *own_config.resources, *policies, *after]
    deployment = workload.declare_workload(ctx, replace(pod, config=own_config), after=ready)
    routes.expose_service(ctx, EntryPoint())
    return deployment
