"""As whom pods run, and with which login their images are pulled."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

import pulumi
from pulumi_kubernetes.core.v1 import Secret, ServiceAccount
from slipway.commands.admission import prefixes
from slipway.model.names import LOOPBACK
from slipway.run.credentials import HUB, HUB_LOGIN, config_of, login_of

from infra.targets.kubernetes.place import Place, Plot

PULL = "slipway.pull"
"""The pull secret's name: no service can have it."""


def account(mine: Plot) -> ServiceAccount:
    """Declare the service's own account, which has no rights and no token."""
    return ServiceAccount(mine.name, metadata=mine.metadata(), automount_service_account_token=False, opts=mine.opts())


def pull_secret(place: Place) -> Secret | None:
    """Declare the login that images are pulled with: this machine's, as it is now; None where it has none.

    It is made anew by each deploy, as a token may live for hours only. Pods name it and do not hold it, so a new one
    restarts none.

    Raises:
        SlipwayError: Docker's config or the credential helper that it names is broken.
    """
    hosts = sorted({each.partition("/")[0] for each in prefixes(place.workspace, place.stack)})
    logins = dict(_logins(place, hosts))
    if not logins:
        return None
    text = json.dumps({"auths": logins}, sort_keys=True)
    return Secret(
        PULL,
        metadata=place.metadata(PULL),
        type="kubernetes.io/dockerconfigjson",
        data={".dockerconfigjson": pulumi.Output.secret(base64.b64encode(text.encode()).decode())},
        opts=place.opts(),
    )


def _logins(place: Place, hosts: Iterable[str]) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield an entry of a Docker config for each registry that is not on this machine and that it has a login for."""
    config = config_of(place.workspace, "pull")
    for host in hosts:
        login = login_of(host, config) if not LOOPBACK.match(host) else None
        if login and login.user and login.password:
            pair = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
            yield HUB_LOGIN if host == HUB else host, {"auth": pair}
        elif login and login.token:
            pulumi.log.warn(
                f"the login for {host} is an identity token, which Kubernetes cannot pull with: "
                "give its nodes the right to read there"
            )
