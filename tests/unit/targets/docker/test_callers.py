"""Who may call is declared with the gateway: consumers with their keys' hashes, issuers with their public keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest
from pulumi.runtime.rpc import _special_secret_sig
from tests.unit.targets.kubernetes.conftest import change, root, settings
from tests.unit.targets.kubernetes.declared import declare

from slipway._internal.model.errors import ConfigError

__all__ = ["root"]
HASH = "a" * 64
KEYS = json.dumps([{"sha256": HASH, "made": "2026-12-01T00:00:00Z"}])


@pytest.fixture
def demo(root: Path) -> Iterator[Path]:
    settings(root, "target: docker")
    with (root / "workspace.toml").open("a") as file:
        file.write('[consumers.shop]\ngroups = ["partners"]\n[consumers.bank]\n')
    yield root
    pulumi.runtime.set_all_config({})


def test_consumers_are_declared_as_a_secret_with_their_hashes(demo: Path) -> None:
    pulumi.runtime.set_all_config({"gateway:consumer.shop": KEYS}, ["gateway:consumer.shop"])
    gateway = declare(demo)["Gateway", "dev"]
    assert HASH not in str({key: value for key, value in gateway.items() if key != "consumers"})
    consumers = gateway["consumers"]
    assert _special_secret_sig in str(consumers), "in the state it is encrypted"
    assert all(word in str(consumers) for word in (HASH, "partners", "shop", "bank"))


def test_what_cannot_be_read_is_named(demo: Path) -> None:
    pulumi.runtime.set_all_config({"gateway:consumer.shop": "{}"})
    with pytest.raises(ConfigError, match=r"Pulumi.dev.yaml: `gateway:consumer.shop` cannot be read"):
        declare(demo)


def test_the_text_of_a_key_file_is_declared_and_not_its_name(demo: Path) -> None:
    keys = {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}
    (demo / "services" / "api" / "keys.json").write_text(json.dumps(keys, indent=1))
    change(demo, "api", 'route = "/api"\n', "")
    jwt = '{jwt = {issuer = "i", audiences = ["a"], jwks = "keys.json"}}'
    change(demo, "api", "", f'[[routes]]\npath = "/api"\nauth = {jwt}')
    [route] = [route for route in declare(demo)["Gateway", "dev"]["routes"] if route["service"] == "api"]
    assert json.loads(route["rules"]["auth"]["jwt"]["jwks"]) == keys
