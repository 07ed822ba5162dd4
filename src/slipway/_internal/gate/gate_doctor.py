"""The gate's part of `invoke doctor`: whom policy/ trusts, what signs, and the age of the scanner's database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from slipway._internal.context.run_context import current_environment
from slipway._internal.gate import admission, scan, signing_keys
from slipway._internal.model import trust
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain.doctor import CheckResult


def gate_facts(workspace: Workspace) -> Iterator[CheckResult]:
    """Look at what the gate needs, changing nothing; what `invoke ship` gets by itself is not wrong."""
    for check in (_trust, _signer, _database):
        try:
            yield check(workspace)
        except SlipwayError as error:
            yield CheckResult(check.__name__.strip("_"), False, error.message, error.remedy)


def _trust(workspace: Workspace) -> CheckResult:
    trusted = trust.load(workspace.root)
    if trusted.is_empty:
        return CheckResult("policy", True, "trusts nobody yet: the first `invoke ship` makes a key pair")
    summary = f"keys: {len(trusted.keys)}, identities: {len(trusted.identities)}"
    if admission.stale_policies(workspace):
        return CheckResult("policy", True, f"{summary}; policy/kubernetes is not of these: `invoke keys` writes it")
    return CheckResult("policy", True, summary)


def _signer(workspace: Workspace) -> CheckResult:
    signing = workspace.settings.signing
    if signing.mode == "keyless":
        return CheckResult("signing", True, "keyless, by the CI job's identity")
    if signing_keys.is_remote_key(signing.key):
        return CheckResult("signing", True, f"with {signing.key}")
    key_exists = signing_keys.key_file(workspace).is_file()
    return CheckResult(
        "signing",
        True,
        f"with {signing.key}" if key_exists else f"{signing.key} is not here; only machines that ship need it",
    )


def _database(workspace: Workspace) -> CheckResult:
    try:
        database = scan.load_database(current_environment(workspace), datetime.now(UTC))
    except scan.DatabaseUnavailable as error:
        return CheckResult("scan database", True, f"{error}; `invoke ship` downloads it")
    return CheckResult(
        "scan database", True, f"of {database.updated[:16]}, good until {database.next_update:%Y-%m-%d %H:%M} UTC"
    )
