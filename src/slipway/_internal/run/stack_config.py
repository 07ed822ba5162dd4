"""Reads a value of a stack's configuration, and asks Pulumi for it only where it is encrypted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.model.project import Project
from slipway._internal.model.structured_files import read_yaml
from slipway._internal.run.passphrase import hide_salt, missing_passphrase_error
from slipway._internal.run.process import ProcessResult, run
from slipway._internal.run.state import pulumi_environment

PULUMI_SECONDS = 60.0
NO_STACK_MESSAGE, ALREADY_EXISTS_MESSAGE = "no stack named", "already exists"


def read_setting(pulumi: Path, project: Project, stack: str, key: str, environment: Mapping[str, str]) -> str | None:
    """Return a value of a stack's configuration; None where its file has none of that name, or there is no such file.

    Args:
        pulumi: the CLI.
        project: the workspace's.
        stack: the stack's name. Nothing has to be deployed, and the backend need not know it.
        key: `namespace:name`.
        environment: what the tools need.

    Raises:
        ConfigError: it is encrypted with another passphrase, or the file is wrong.
        SlipwayError: Pulumi cannot tell it.
    """
    file = project.root / "infra" / f"Pulumi.{stack}.yaml"
    config = read_yaml(file).get("config") if file.is_file() else None
    value = config.get(key) if isinstance(config, dict) else None
    if value is None:
        return None
    if not isinstance(value, dict):
        return str(value)
    result = _run_pulumi(pulumi, project, stack, ["config", "get", "--json", "--stack", stack, key], environment)
    if result.code and NO_STACK_MESSAGE in result.output:
        create_stack(pulumi, project, stack, environment)
        result = _run_pulumi(pulumi, project, stack, ["config", "get", "--json", "--stack", stack, key], environment)
    if "incorrect passphrase" in result.output:
        raise missing_passphrase_error(project.root, f"the secrets in {file}")
    if result.code:
        raise SlipwayError(
            f"{file}: `{key}` cannot be decrypted",
            detail=result.tail(),
            remedy=f"In infra/: `../.venv/bin/pulumi config set --secret --stack {stack} {key}` sets it anew.",
        )
    decrypted = str(json.JSONDecoder().raw_decode(result.output[result.output.index("{") :])[0]["value"])
    register_secret(decrypted)
    return decrypted


def write_secret(
    pulumi: Path, project: Project, stack: str, key: str, value: str, environment: Mapping[str, str]
) -> None:
    """Encrypt a value into a stack's configuration.

    Args:
        pulumi: the CLI.
        project: the workspace's.
        stack: the stack's name. The backend need not know it.
        key: `namespace:name`.
        value: the secret; Pulumi reads it from its standard input.
        environment: what the tools need.

    Raises:
        ConfigError: the file holds secrets of another passphrase.
        SlipwayError: Pulumi cannot write it.
    """
    register_secret(value)
    words = ["config", "set", "--secret", "--stack", stack, key]
    result = _run_pulumi(pulumi, project, stack, words, environment, stdin=value)
    if result.code and NO_STACK_MESSAGE in result.output:
        create_stack(pulumi, project, stack, environment)
        result = _run_pulumi(pulumi, project, stack, words, environment, stdin=value)
    file = project.root / "infra" / f"Pulumi.{stack}.yaml"
    if "incorrect passphrase" in result.output:
        raise missing_passphrase_error(project.root, f"the secrets in {file}")
    if result.code:
        raise SlipwayError(f"{file}: `{key}` cannot be written", detail=result.tail())


def remove_setting(pulumi: Path, project: Project, stack: str, key: str, environment: Mapping[str, str]) -> None:
    """Remove a value from a stack's configuration.

    Raises:
        SlipwayError: Pulumi cannot.
    """
    words = ["config", "rm", "--stack", stack, key]
    result = _run_pulumi(pulumi, project, stack, words, environment)
    if result.code and NO_STACK_MESSAGE in result.output:
        create_stack(pulumi, project, stack, environment)
        result = _run_pulumi(pulumi, project, stack, words, environment)
    if result.code:
        file = project.root / "infra" / f"Pulumi.{stack}.yaml"
        raise SlipwayError(f"{file}: `{key}` cannot be removed", detail=result.tail())


def create_stack(pulumi: Path, project: Project, stack: str, environment: Mapping[str, str]) -> None:
    """Have the backend know a stack that so far is only a file.

    Raises:
        ConfigError: the file holds secrets of another passphrase.
        SlipwayError: the backend does not answer.
    """
    result = _run_pulumi(pulumi, project, stack, ["stack", "init", stack, "--no-select"], environment)
    if "incorrect passphrase" in result.output:
        file = project.root / "infra" / f"Pulumi.{stack}.yaml"
        raise missing_passphrase_error(project.root, f"the secrets in {file}")
    if result.code and ALREADY_EXISTS_MESSAGE not in result.output:
        raise SlipwayError(
            f"the stack `{stack}` cannot be made where the state is kept",
            detail=result.tail(),
            remedy="`backend` in infra/Pulumi.yaml says where that is; `invoke doctor` helps.",
        )


def _run_pulumi(
    pulumi: Path,
    project: Project,
    stack: str,
    words: list[str],
    environment: Mapping[str, str],
    stdin: str | None = None,
) -> ProcessResult:
    with hide_salt(project.root / "infra" / f"Pulumi.{stack}.yaml"):
        return run(
            [pulumi, "--non-interactive", *words],
            cwd=project.root / "infra",
            env={**environment, **pulumi_environment(project, stack)},
            stdin=stdin,
            timeout=PULUMI_SECONDS,
        )
