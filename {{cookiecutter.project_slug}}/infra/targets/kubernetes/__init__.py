"""Runs the services on Kubernetes: a namespace, closed but for what is named, and in it what each service needs."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from slipway.model.stack import Stack
from slipway.model.workspace import Workspace

from infra.secrets import Secrets
from infra.targets import Deployed
from infra.targets.kubernetes import access, admission, files, network, place, routes, scale, workload


def deploy(
    workspace: Workspace,
    stack: Stack,
    images: Mapping[str, pulumi.Input[str]],
    secrets: Mapping[str, Secrets],
) -> Deployed:
    """Declare the stack's namespace and its rules, and for each service what runs and who reaches it.

    Raises:
        ConfigError: the namespace's name, the kubeconfig or a service's Dockerfile is wrong.
    """
    here = place.prepare(workspace, stack)
    rules = [*network.closed(here), *admission.rules(here)]
    login = access.pull_secret(here)
    entrance = routes.entrance(here)
    resources: list[pulumi.Resource] = [*rules, *entrance.resources]

    for service in workspace.services:
        mine = here.of(service)
        given = files.of(mine, secrets[service.name])
        account = access.account(mine)
        opened = network.opened(mine)
        pod = workload.Pod(images[service.name], given, login)
        running = workload.running(mine, pod, after=[account, *given.resources, *opened])
        resources += [*opened, running, *scale.of(mine, running), *routes.to(mine, entrance)]

    return Deployed(urls=routes.urls(workspace, stack), resources=resources)
