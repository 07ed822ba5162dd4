"""The documented example is a fixture: the reference shows every key and every command, and what it shows is valid."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin

import msgspec
import pytest
from tests.conftest import ROOT, TEMPLATE

from slipway._internal.model import stack, workspace
from slipway.tasks import verbs

REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)


def keys_of(kind: type[msgspec.Struct]) -> set[str]:
    """Return the names of a struct's keys and of those inside it."""
    found = set()
    for field in msgspec.structs.fields(kind):
        found.add(field.encode_name)
        nested = isinstance(field.type, UnionType) or get_origin(field.type) is tuple
        for part in get_args(field.type) if nested else (field.type,):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                found |= keys_of(part)
    return found


@pytest.mark.parametrize(
    ("examples", "kind"),
    [(EXAMPLES[:1], workspace.WorkspaceSettings), (EXAMPLES[1:5], workspace.ServiceSettings)],
    ids=["workspace", "service"],
)
def test_the_reference_shows_every_key(examples: list[str], kind: type[msgspec.Struct]) -> None:
    text = "\n".join(examples)
    shown = set(re.findall(r"^\[{0,2}([\w.-]+)\]{0,2}(?: =|\s+#|$)", text, re.MULTILINE))
    shown = {part for name in shown for part in name.split(".")}
    assert keys_of(kind) <= shown


def test_the_examples_of_the_reference_are_a_valid_workspace(tmp_path: Path) -> None:
    (tmp_path / "workspace.toml").write_text(EXAMPLES[0], encoding="utf-8")
    for name, text in (("api", EXAMPLES[1]), ("report", EXAMPLES[2]), ("shop", EXAMPLES[4])):
        service = tmp_path / "services" / name
        service.mkdir(parents=True)
        (service / "service.toml").write_text(text, encoding="utf-8")
        (service / "login-ca.pem").write_text("-----BEGIN CERTIFICATE-----\n", encoding="utf-8")
        (service / "login-keys.json").write_text('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}')
        (service / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    database = tmp_path / "services" / "db"
    database.mkdir()
    (database / "service.toml").write_text(EXAMPLES[3], encoding="utf-8")
    (tmp_path / "libs" / "common").mkdir(parents=True)
    found = workspace.load_workspace(tmp_path)
    assert found.service("api").settings.route == "/api"
    assert found.service("report").settings.job
    assert [route.path for route in found.service("shop").routes] == [
        *("/orders", "/v1", "/v2", "/team", "/files", "/catalogue", "/old")
    ]
    assert found.service("db").is_stateful and not found.service("db").is_built


def test_the_reference_names_every_setting_of_a_stack() -> None:
    assert [key for key in stack._SETTINGS if f"`{key}`" not in REFERENCE] == []


def test_the_reference_names_every_command_and_flag() -> None:
    for name, task in verbs(TEMPLATE).tasks.items():
        lines = REFERENCE.splitlines()
        line = next((line for line in lines if line.startswith((f"| `invoke {name} ", f"| `invoke {name}`"))), "")
        assert line, f"invoke {name} is not in the reference"
        for argument in task.get_arguments():
            flag = f"--{argument.names[0]}"
            assert argument.names[0] in task.positional or flag in line, f"invoke {name} {flag} is not in the reference"


def test_every_exit_code_is_in_the_reference() -> None:
    from slipway._internal.model import errors

    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert all(f"| {code} |" in REFERENCE for code in codes)
