"""Keys of consumers: shown once, kept as hashes, rotated without a gap."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slipway._internal.model import stack as stacks
from slipway._internal.model.consumer_keys import new_key, parse_keys
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release import consumers


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's encrypted configuration, in memory."""
    values: dict[str, str] = {}

    def write(_pulumi: Path, _project: Any, _stack: str, key: str, value: str, _environment: Any) -> None:
        values[key] = value

    monkeypatch.setattr(consumers, "write_secret", write)
    monkeypatch.setattr(consumers, "read_setting", lambda _pulumi, _project, _stack, key, _env: values.get(key))
    monkeypatch.setattr(consumers, "remove_setting", lambda _pulumi, _project, _stack, key, _env: values.pop(key))
    return values


@pytest.fixture
def context(tmp_path: Path) -> Any:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: inline\n  slipway:protected: false\n"
    )
    (tmp_path / "workspace.toml").write_text(
        'name = "demo"\nregistry = "127.0.0.1:5000"\n[consumers.shop]\ngroups = ["partners"]\n[consumers.bank]\n'
    )
    return SimpleNamespace(workspace=load_workspace(tmp_path), bin=tmp_path, environment={})


@pytest.fixture
def stack(context: Any) -> Stack:
    return stacks.load(context.workspace.root, "dev", {})


def hashes(settings: dict[str, str]) -> list[str]:
    return [key.sha256 for key in parse_keys(settings["gateway:consumer.shop"], "here")]


def hashed(*keys: str) -> list[str]:
    return [hashlib.sha256(key.encode()).hexdigest() for key in keys]


def test_a_key_is_given_out_once_and_only_its_hash_is_kept(
    context: Any, stack: Stack, settings: dict[str, str]
) -> None:
    key = consumers.add_key(context, stack, "shop")
    assert key.startswith("slw_") and len(key) == 47
    assert hashes(settings) == hashed(key)
    assert key not in str(settings)
    with pytest.raises(ConfigError, match="has a key in dev already") as caught:
        consumers.add_key(context, stack, "shop")
    assert "consumer rotate shop --stack dev" in caught.value.remedy


def test_a_rotation_has_both_keys_until_it_is_finished(context: Any, stack: Stack, settings: dict[str, str]) -> None:
    old = consumers.add_key(context, stack, "shop")
    new = consumers.rotate_key(context, stack, "shop")
    assert hashes(settings) == hashed(old, new)
    with pytest.raises(ConfigError, match="a rotation is under way"):
        consumers.rotate_key(context, stack, "shop")
    consumers.finish_rotation(context, stack, "shop")
    assert hashes(settings) == hashed(new)
    with pytest.raises(ConfigError, match="no rotation is under way"):
        consumers.finish_rotation(context, stack, "shop")


def test_what_is_removed_is_gone(context: Any, stack: Stack, settings: dict[str, str]) -> None:
    consumers.add_key(context, stack, "shop")
    consumers.remove_keys(context, stack, "shop")
    assert not settings
    for action in (consumers.remove_keys, consumers.rotate_key, consumers.finish_rotation):
        with pytest.raises(ConfigError, match="'shop' has no key in dev"):
            action(context, stack, "shop")


def test_keys_of_a_consumer_who_is_gone_or_damaged_can_be_removed(
    context: Any, stack: Stack, settings: dict[str, str]
) -> None:
    settings["gateway:consumer.former"] = "[]"
    consumers.remove_keys(context, stack, "former")
    assert not settings


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"sha256": "x", "made": "2026-12-01T00:00:00Z"}]', '["x"]'])
def test_what_is_no_list_of_hashes_is_named(context: Any, stack: Stack, settings: dict[str, str], text: str) -> None:
    settings["gateway:consumer.shop"] = text
    with pytest.raises(ConfigError, match=r"Pulumi.dev.yaml: `gateway:consumer.shop` cannot be read"):
        consumers.rotate_key(context, stack, "shop")


def test_only_consumers_of_the_workspace_get_keys(context: Any, stack: Stack, settings: dict[str, str]) -> None:
    for action in (consumers.add_key, consumers.rotate_key):
        with pytest.raises(ConfigError, match=r"workspace.toml has no consumer 'other'") as caught:
            action(context, stack, "other")
        assert "[consumers.other]" in caught.value.remedy and "bank, shop" in caught.value.remedy
    assert not settings


def test_the_list_says_when_keys_were_made_and_nothing_of_them(
    context: Any, stack: Stack, settings: dict[str, str]
) -> None:
    key = consumers.add_key(context, stack, "shop")
    rows = consumers.list_consumers(context, stack)
    assert [(row.name, row.groups, len(row.made)) for row in rows] == [("bank", (), 0), ("shop", ("partners",), 1)]
    assert hashed(key)[0] not in str([(row.as_dict(), row.cells) for row in rows])


def test_a_stack_whose_gateway_takes_no_keys_gets_none(context: Any, stack: Stack, settings: dict[str, str]) -> None:
    for action in (consumers.add_key, consumers.rotate_key):
        with pytest.raises(ConfigError, match="the target of dev is kubernetes, whose gateway takes no keys"):
            action(context, replace(stack, target="kubernetes"), "shop")


def test_no_two_keys_are_the_same() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000
