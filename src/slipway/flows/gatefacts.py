"""What `invoke doctor` says of the gate: whom policy/ trusts, what signs, and how old the scanner's database is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from slipway.flows import admission, keys, scan
from slipway.flows.standing import standing
from slipway.model import trust
from slipway.model.errors import SlipwayError
from slipway.model.workspace import Workspace
from slipway.toolchain.doctor import Fact


def facts(workspace: Workspace) -> Iterator[Fact]:
    """Look at what the gate needs, changing nothing; what `invoke ship` gets by itself is not wrong."""
    for check in (_trust, _signer, _database):
        try:
            yield check(workspace)
        except SlipwayError as error:
            yield Fact(check.__name__.strip("_"), False, error.what, error.remedy)


def _trust(workspace: Workspace) -> Fact:
    trusted = trust.load(workspace.root)
    if trusted.empty:
        return Fact("policy", True, "trusts nobody yet: the first `invoke ship` makes a key pair")
    told = f"keys: {len(trusted.keys)}, identities: {len(trusted.identities)}"
    if admission.stale(workspace):
        return Fact("policy", True, f"{told}; policy/kubernetes is not of these: `invoke keys` writes it")
    return Fact("policy", True, told)


def _signer(workspace: Workspace) -> Fact:
    signing = workspace.settings.signing
    if signing.mode == "keyless":
        return Fact("signing", True, "keyless, by the CI job's identity")
    if keys.is_address(signing.key):
        return Fact("signing", True, f"with {signing.key}")
    there = keys.key_file(workspace).is_file()
    return Fact(
        "signing", True, f"with {signing.key}" if there else f"{signing.key} is not here: only who ships needs it"
    )


def _database(workspace: Workspace) -> Fact:
    try:
        found = scan.database(standing(workspace), datetime.now(UTC))
    except scan.NotUsable as why:
        return Fact("scan database", True, f"{why}; `invoke ship` downloads it")
    return Fact("scan database", True, f"of {found.updated[:16]}, good until {found.next_update:%Y-%m-%d %H:%M} UTC")
