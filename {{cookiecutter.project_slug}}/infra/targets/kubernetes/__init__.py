"""Runs the services on Kubernetes: a namespace, closed but for what is named, and in it what each service needs."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from slipway import Workspace
from slipway._internal.model.stack import Stack

from infra.secrets import Secrets
from infra.targets import DeployedResources
from infra.targets.kubernetes import access, admission, config, context, network, routes, scaling, workload


def deploy(
    workspace: Workspace,
    stack: Stack,
    images: Mapping[str, pulumi.Input[str]],
    secrets: Mapping[str, Secrets],
) -> DeployedResources:
    """Declare the stack's namespace and its rules, and for each service what runs and who reaches it.

    Raises:
        ConfigError: the namespace's name, the kubeconfig or a service's Dockerfile is wrong.
    """
    stack_ctx = context.declare_namespace(workspace, stack)
    policy_rules = [*network.default_deny(stack_ctx), *admission.declare_admission_policy(stack_ctx)]
    pull_secret = access.declare_pull_secret(stack_ctx)
    entry_point = routes.declare_entry_point(stack_ctx)
    resources: list[pulumi.Resource] = [*policy_rules, *entry_point.resources]

    for service in workspace.services:
        ctx = stack_ctx.for_service(service)
        service_config = config.declare_config(ctx, secrets[service.name])
        account = access.declare_service_account(ctx)
        policies = network.allow_service(ctx)
        pod = workload.PodInputs(images[service.name], service_config, pull_secret)
        workload_resource = workload.declare_workload(ctx, pod, after=[account, *service_config.resources, *policies])
        resources += [
            *policies,
            workload_resource,
            *scaling.declare_scaling(ctx, workload_resource),
            *routes.expose_service(ctx, entry_point),
        ]

    return DeployedResources(urls=routes.service_urls(workspace, stack), resources=resources)
