"""What something may listen on: an IP address, and nothing that an engine reads as another."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model import stack, workspace
from slipway._internal.model.addresses import bind_problem, is_same_address, registry_problem, url_authority
from slipway._internal.model.errors import ConfigError

NONE = [
    "localhost",
    "127.0.0.l",
    "",
    "0",
    "127.1",
    "fe80::1%eth0",
    "::ffff:127.0.0.1",
    "224.0.0.1",
    "[::1]",
    " 1.2.3.4",
]
HOSTS = ["127.1:5000", "127.0.0.256:5000", "0.0.0.0:5000", "[::]:5000", "[::1::2]:5000", "010.0.0.1"]
HOSTS += ["0x7f.1:5000", "127.0.0x1", "a.0x7f000001", "[0:0:0:0:0:0:0:1]:5000"]


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0", "::1", "::", "10.0.0.7", "2001:db8::1"])
def test_an_ip_address_is_one(bind: str) -> None:
    assert not bind_problem(bind)


@pytest.mark.parametrize("bind", NONE)
def test_what_is_no_ip_address_is_refused_when_the_file_is_read(tmp_path: Path, bind: str) -> None:
    (tmp_path / "workspace.toml").write_text(f'name = "shop"\nregistry = "r.example"\n[gateway]\nbind = "{bind}"\n')
    with pytest.raises(ConfigError, match=r"workspace\.toml:4: `bind`") as caught:
        workspace.load_workspace(tmp_path)
    assert "127.0.0.1" in caught.value.remedy


@pytest.mark.parametrize("host", HOSTS)
def test_a_registry_whose_numbers_are_no_machines_address_is_refused(tmp_path: Path, host: str) -> None:
    (tmp_path / "workspace.toml").write_text(f'name = "shop"\nregistry = "{host}"\n')
    with pytest.raises(ConfigError, match=r"workspace\.toml:2"):
        workspace.load_workspace(tmp_path)
    path = tmp_path / "infra" / "Pulumi.dev.yaml"
    path.parent.mkdir()
    path.write_text(f'config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:registry: "{host}"\n')
    with pytest.raises(ConfigError, match="slipway:registry"):
        stack.load(tmp_path, "dev", {})


@pytest.mark.parametrize("registry", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000/x", "ghcr.io/acme", "10.0.0.7"])
def test_other_registries_are_as_they_were(registry: str) -> None:
    assert not registry_problem(registry)


def test_an_ipv6_address_has_brackets_in_a_url() -> None:
    assert (url_authority("::1", 8080), url_authority("::1", 80), url_authority("a", 81)) == (
        "[::1]:8080",
        "[::1]",
        "a:81",
    )


def test_two_spellings_are_one_address() -> None:
    assert is_same_address("::1", "0:0:0:0:0:0:0:1")
    assert not is_same_address("0.0.0.0", "127.0.0.1")
    assert not is_same_address("localhost", "127.0.0.1")
