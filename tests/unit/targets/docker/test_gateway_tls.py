"""A stack's certificate: where it is read from, what is refused of it, and what becomes of its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from tests.certificates import Authority, Issued
from tests.unit.targets.kubernetes.conftest import change, root, settings
from tests.unit.targets.kubernetes.declared import Declared, declare

from slipway._internal.model import stack as stacks
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.masking import mask
from slipway._internal.model.stack_hosts import check_hosts
from slipway._internal.model.workspace import load_workspace
from slipway._internal.provider.values import SIGNATURE_KEY

__all__ = ["root"]
HOST = "shop.example.com"
SECRET = "gateway:certificate-key"
CERTIFICATE = "certificate: certs/shop.pem"
ACME = ("acme: letsencrypt", "acme-terms: agreed")


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue(HOST, "api.example.com")


@pytest.fixture(autouse=True)
def stored(root: Path, issued: Issued) -> Iterator[None]:
    """The certificate in a file, its key in the encrypted configuration."""
    (root / "certs").mkdir()
    (root / "certs" / "shop.pem").write_text(issued.chain)
    settings(root, "target: docker", f"host: {HOST}", CERTIFICATE)
    pulumi.runtime.set_all_config({SECRET: issued.key}, [SECRET])
    yield
    pulumi.runtime.set_all_config({}, [])


def gateway(found: Declared) -> dict[str, Any]:
    return found["Gateway", "dev"]


def test_the_certificate_is_readable_and_its_key_is_a_secret(root: Path, issued: Issued) -> None:
    found = declare(root)
    tls = gateway(found)["options"]["tls"]
    assert (tls["certificate"], tls["port"], gateway(found)["tlsPort"]) == (issued.chain, 8443, 8443)
    secrets = gateway(found)["secrets"]
    assert SIGNATURE_KEY in secrets and tls["key"] in str(secrets)
    assert issued.key.splitlines()[1] not in str({**gateway(found), "secrets": None})
    assert issued.key.splitlines()[1] not in mask(f"x {issued.key} y")
    assert found.urls == {"api": f"https://{HOST}:8443/api", "web": f"https://{HOST}:8443/"}


def test_ports_and_hsts_are_the_workspaces_or_the_stacks(root: Path) -> None:
    text = (root / "workspace.toml").read_text()
    (root / "workspace.toml").write_text(f"{text}[gateway]\ntls-port = 443\nhsts = 86400\n")
    found = declare(root)
    assert gateway(found)["options"]["hsts"] == 86400
    assert found.urls["web"] == f"https://{HOST}/"
    settings(root, "target: docker", f"host: {HOST}", CERTIFICATE, "tls-port: 9443")
    assert gateway(declare(root))["tlsPort"] == 9443
    assert "http3Port" not in gateway(declare(root)) and "http3" not in gateway(declare(root))["options"]
    settings(root, "target: docker", f"host: {HOST}", CERTIFICATE, "tls-port: 9443", "http3: true")
    assert (gateway(declare(root))["http3Port"], gateway(declare(root))["options"]["http3"]) == (9443, True)
    settings(root, "target: docker")
    plain = gateway(declare(root))
    assert "tlsPort" not in plain and "hsts" not in plain.get("options", {})


def test_traces_go_where_the_stack_says(root: Path) -> None:
    settings(root, "target: docker", "traces: http://collector:4318")
    assert gateway(declare(root))["options"]["traces"] == {"url": "http://collector:4318", "percent": 100}
    settings(root, "target: docker", "traces: https://otlp.example.com/x", "traces-percent: 5")
    assert gateway(declare(root))["options"]["traces"] == {"url": "https://otlp.example.com/x", "percent": 5}
    settings(root, "target: docker")
    assert "traces" not in gateway(declare(root)).get("options", {})


def test_metrics_have_a_port_where_the_workspace_or_the_stack_says_so(root: Path) -> None:
    settings(root, "target: docker")
    assert "metricsPort" not in gateway(declare(root))
    settings(root, "target: docker", "metrics-port: 9100")
    assert (gateway(declare(root))["metricsPort"], gateway(declare(root))["options"]["metrics"]) == (9100, True)


def test_a_key_may_be_in_a_file_that_git_does_not_have(root: Path, issued: Issued, authority: Authority) -> None:
    pulumi.runtime.set_all_config({}, [])
    outside = root.parent / f"{root.name}.key"
    for path, shown in ((outside, str(outside)), (root / "certs" / "shop.key", "certs/shop.key")):
        path.write_text(issued.key)
        settings(root, "target: docker", f"host: {HOST}", CERTIFICATE, f"certificate-key: {shown}")
        (root / ".gitignore").write_text("*.key\n")
        assert gateway(declare(root))["secrets"]
    (root / ".gitignore").write_text("")
    with pytest.raises(ConfigError, match=r"Pulumi\.dev\.yaml:7: the private key .* is in the workspace, and git"):
        declare(root)
    outside.write_text(authority.issue(HOST).key)
    settings(root, "target: docker", f"host: {HOST}", CERTIFICATE, f"certificate-key: {outside}")
    with pytest.raises(ConfigError, match=r"Pulumi\.dev\.yaml:7: the private key .* is not the private key"):
        declare(root)


def test_what_is_missing_or_wrong_is_said_by_file_and_line(root: Path, authority: Authority) -> None:
    change(root, "api", 'route = "/api"\n', "")
    change(root, "api", "", '[[routes]]\npath = "/"\nhost = "other.example.com"')
    with pytest.raises(
        ConfigError, match=r"Pulumi\.dev\.yaml:6: the certificate .* is not for the host other\.example"
    ):
        declare(root)
    (root / "certs" / "shop.pem").write_text(authority.issue(HOST, "other.example.com").chain)
    with pytest.raises(ConfigError, match=r"the secret gateway:certificate-key is not the private key"):
        declare(root)
    pulumi.runtime.set_all_config({}, [])
    with pytest.raises(ConfigError, match="is set, but not the certificate's private key") as caught:
        declare(root)
    assert "pulumi config set --secret --stack dev gateway:certificate-key < KEY" in caught.value.remedy
    (root / "certs" / "shop.pem").unlink()
    with pytest.raises(ConfigError, match=r"Pulumi\.dev\.yaml:6: the certificate .* cannot be read"):
        declare(root)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["tls-port: 9443"], "`slipway:tls-port` is set, but there is no `slipway:certificate`"),
        (["certificate-key: a.key"], "`slipway:certificate-key` is set, but there is no"),
        (["traces-percent: 5"], "`slipway:traces-percent` is set, but there is no `slipway:traces`"),
        (
            ["target: kubernetes", "traces: http://collector:4318"],
            "`slipway:traces` is a setting of stacks on a Docker",
        ),
        (["traces: http://collector:4317"], "`slipway:traces` is"),
        (["traces: http://name:password@collector:4318"], "`slipway:traces` is"),
        (["traces: http://collector:4318?key=x"], "`slipway:traces` is"),
        (["traces: collector:4318"], "`slipway:traces` is"),
        (["traces: http://collector:4318", "traces-percent: 101"], "`slipway:traces-percent` is"),
        (["target: kubernetes", CERTIFICATE], "`slipway:certificate` is a setting of stacks on a Docker engine"),
        ([CERTIFICATE, "tls-port: 8080"], "would have one port, 8080, with TLS and without"),
        ([CERTIFICATE, "tls-port: 0"], "`slipway:tls-port` is '0'"),
        ([*ACME, CERTIFICATE], "`slipway:acme` and `slipway:certificate` are both set"),
        (["acme: letsencrypt"], "nobody agreed to the terms"),
        (["acme: letsencrypt", "acme-terms: no"], "`slipway:acme-terms` is 'no'"),
        (["acme: http://a.example/dir", "acme-terms: agreed"], "`slipway:acme` is 'http://a.example/dir'"),
        ([*ACME, "acme-email: nobody"], "`slipway:acme-email` is 'nobody'"),
        (["http3: true"], "`slipway:http3` is set, but there is no `slipway:certificate` or `slipway:acme`"),
        (["target: kubernetes", "http3: true"], "`slipway:http3` is a setting of stacks on a Docker engine"),
        (["acme-ca: ca.pem"], "`slipway:acme-ca` is set, but there is no `slipway:acme`"),
        (["target: kubernetes", *ACME], "`slipway:acme` is a setting of stacks on a Docker engine"),
        ([*ACME, f"host: {HOST}", "tls-port: 8080"], "would have one port, 8080, with TLS and without"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(root: Path, lines: list[str], says: str) -> None:
    settings(root, "target: docker", *lines)
    with pytest.raises(ConfigError, match=says):
        declare(root)


def test_one_that_expires_soon_is_warned_of_and_served(
    root: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    soon = authority.issue(HOST, days=3)
    (root / "certs" / "shop.pem").write_text(soon.chain)
    pulumi.runtime.set_all_config({SECRET: soon.key}, [SECRET])
    assert gateway(declare(root))["options"]["tls"]
    assert len(said) == 1 and "expires in 2 days" in said[0]


def test_a_folder_beside_another_has_its_own_ports(root: Path) -> None:
    settings(root, "target: docker", f"host: {HOST}", CERTIFICATE, "port: 8081", "metrics-port: 9100")
    (root / ".slipway").mkdir(exist_ok=True)
    (root / ".slipway" / "local.toml").write_text('suffix = "b"\n[ports]\n"dev" = 8091\n')
    front = gateway(declare(root))
    assert (front["port"], front["tlsPort"], front["metricsPort"]) == (8091, 8453, 9110)


def test_a_stack_may_have_its_certificates_issued(root: Path) -> None:
    text = (root / "workspace.toml").read_text()
    (root / "workspace.toml").write_text(f"{text}[gateway]\nhsts = 600\n")
    settings(root, "target: docker", f"host: {HOST}", *ACME, "tls-port: 443")
    found = declare(root)
    found_options = {name: gateway(found)["options"].get(name) for name in ("hosts", "acme", "hsts", "tls")}
    assert found_options == {"hosts": [HOST], "acme": {"port": 443}, "hsts": 600, "tls": None}
    assert gateway(found)["tlsPort"] == 443 and "secrets" not in gateway(found)
    assert found.urls["web"] == f"https://{HOST}/"
    stack = stacks.load(root, "dev", {})
    assert stack.acme == "https://acme-v02.api.letsencrypt.org/directory"
    check_hosts(load_workspace(root).services, stack)
    settings(root, "target: docker", *ACME)
    with pytest.raises(ConfigError, match=r"Pulumi\.dev\.yaml:5: `slipway:acme` is set, but the stack has no host"):
        check_hosts(load_workspace(root).services, stacks.load(root, "dev", {}))
    change(root, "api", "", '[[routes]]\npath = "/api"\nhost = "*.example.com"')
    change(root, "api", 'route = "/api"\n', "")
    with pytest.raises(ConfigError, match=r"service\.toml:[0-9]+: `host` \*\.example\.com stands for many names"):
        check_hosts(load_workspace(root).services, stack)
