"""Generated secrets: made once for a stack, never anew while data depends on them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release import generated_secrets
from slipway._internal.release.generated_secrets import generate_secrets, missing_secrets

SERVICE = """kind = "postgres"
port = 5432
generated = ["PASSWORD", "TOKEN"]
image = "postgres@sha256:%s"
""" % ("a" * 64)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (tmp_path / "services" / "db").mkdir(parents=True)
    (tmp_path / "services" / "db" / "service.toml").write_text(SERVICE)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n  db:TOKEN:\n    secure: v1:x\n"
    )
    return tmp_path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What was encrypted into the stack's file, by key."""
    values: dict[str, str] = {}

    def write(_pulumi: Path, _project: Any, stack: str, key: str, value: str, _environment: Any) -> None:
        assert stack == "dev"
        values[key] = value

    monkeypatch.setattr(generated_secrets, "write_secret", write)
    return values


def context(root: Path) -> Any:
    return SimpleNamespace(workspace=load_workspace(root), bin=root / "bin", environment={})


def test_what_has_no_value_is_generated(root: Path, written: dict[str, str]) -> None:
    generate_secrets(context(root), stacks.load(root, "dev", {}), NullReporter(), dict)
    assert list(written) == ["db:PASSWORD"]
    assert len(written["db:PASSWORD"]) == 32


def test_another_value_each_time(root: Path, written: dict[str, str]) -> None:
    seen = set()
    for _ in range(3):
        generate_secrets(context(root), stacks.load(root, "dev", {}), NullReporter(), dict)
        seen.add(written["db:PASSWORD"])
    assert len(seen) == 3


def test_nothing_is_asked_where_nothing_is_missing(root: Path, written: dict[str, str]) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(file.read_text() + "  db:PASSWORD:\n    secure: v1:y\n")

    def deployed() -> dict[str, str]:
        raise AssertionError("nothing is missing")

    generate_secrets(context(root), stacks.load(root, "dev", {}), NullReporter(), deployed)
    assert written == {}


def test_a_secret_that_data_was_made_with_is_not_replaced(root: Path, written: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="`db:PASSWORD` is gone, and db has data in dev") as caught:
        generate_secrets(context(root), stacks.load(root, "dev", {}), NullReporter(), lambda: {"db": ""})
    assert "git log -S db:PASSWORD" in caught.value.remedy
    assert written == {}


def test_data_of_an_earlier_workspace_is_named_with_what_removes_it(root: Path, written: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"the volume shop-dev-db\.data has data of an earlier workspace") as caught:
        generate_secrets(
            context(root), stacks.load(root, "dev", {}), NullReporter(), lambda: {"db": "shop-dev-db.data"}
        )
    assert "`db:PASSWORD` in " in caught.value.message
    assert f"`invoke down --stack dev --volumes` in {root} removes it for good" in caught.value.remedy
    assert written == {}


def test_what_runs_elsewhere_needs_none(root: Path) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(file.read_text() + "  slipway:external: db\n")
    assert missing_secrets(load_workspace(root), stacks.load(root, "dev", {})) == []


@pytest.mark.parametrize("names", ["DB", "db cache", "db,,cache", ","])
def test_names_of_services_elsewhere_are_checked(root: Path, names: str) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(file.read_text() + f"  slipway:external: {names!r}\n")
    with pytest.raises(ConfigError, match=r"Pulumi\.dev\.yaml:6: `slipway:external` is"):
        stacks.load(root, "dev", {})
