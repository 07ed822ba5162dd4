"""The service accounts that pods run as, and the login that their images are pulled with."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

import pulumi
from pulumi_kubernetes.core.v1 import Secret, ServiceAccount

from slipway._internal.commands.admission import allowed_prefixes
from slipway._internal.model.names import LOOPBACK
from slipway._internal.run.credentials import HUB, HUB_LOGIN, login_config_of, read_login
from slipway._internal.targets.kubernetes.context import KubernetesContext, ServiceContext

PULL_SECRET = "slipway.pull"  # noqa: S105
"""The pull secret's name; its dot keeps it apart from every service's name."""


def declare_service_account(ctx: ServiceContext) -> ServiceAccount:
    """Declare the service's own account, which has no rights and no token."""
    return ServiceAccount(ctx.name, metadata=ctx.metadata(), automount_service_account_token=False, opts=ctx.opts())


def declare_pull_secret(stack_ctx: KubernetesContext) -> Secret | None:
    """Declare the pull secret from this machine's current registry logins; return None if it has none.

    Each deploy writes it again, as a token may expire within hours. Pods refer to it by name, so a new one restarts
    no pod.

    Raises:
        SlipwayError: Docker's config or its credential helper is broken.
    """
    hosts = sorted({prefix.partition("/")[0] for prefix in allowed_prefixes(stack_ctx.workspace, stack_ctx.stack)})
    logins = dict(_registry_logins(stack_ctx, hosts))
    if not logins:
        return None
    text = json.dumps({"auths": logins}, sort_keys=True)
    return Secret(
        PULL_SECRET,
        metadata=stack_ctx.metadata(PULL_SECRET),
        type="kubernetes.io/dockerconfigjson",
        data={".dockerconfigjson": pulumi.Output.secret(base64.b64encode(text.encode()).decode())},
        opts=stack_ctx.opts(),
    )


def _registry_logins(stack_ctx: KubernetesContext, hosts: Iterable[str]) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield a Docker config entry for each remote registry that this machine has a login for."""
    config = login_config_of(stack_ctx.workspace, "pull")
    for host in hosts:
        login = read_login(host, config) if not LOOPBACK.match(host) else None
        if login and login.user and login.password:
            credentials = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
            yield HUB_LOGIN if host == HUB else host, {"auth": credentials}
        elif login and login.token:
            pulumi.log.warn(
                f"the login for {host} is an identity token, which Kubernetes cannot use to pull images: "
                "grant the cluster's nodes read access to that registry"
            )
