"""Which hosts a stack answers for, and what is refused of them when files are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.model.test_routes import load

from slipway._internal.model import stack as stacks
from slipway._internal.model.environment import service_url
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.hosts import host_problem, match_host
from slipway._internal.model.stack import Stack, hosts_of_stack
from slipway._internal.model.stack_hosts import check_hosts

SERVICE = 'kind = "k"\nport = 8000\n'


def routed(*tables: str) -> str:
    return SERVICE + "".join(f"[[routes]]\n{table}\n" for table in tables)


def stack(target: str = "docker", **more: str) -> Stack:
    return Stack("prod", Path("infra/Pulumi.prod.yaml"), "external", target, True, **more)


@pytest.mark.parametrize("host", ["api.example.com", "*.example.com", "localhost", "a-1.b", "xn--bcher-kva.example"])
def test_a_name_or_all_below_one_is_a_host(host: str) -> None:
    assert host_problem(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        *("", "*", "*.com", "*.*.example.com", "a.*.com", "API.example.com", "example.com:80", "https://example.com"),
        *("10.0.0.1", "[::1]", "example.com.", "-a.example", "a..b", "gateway", "a b", "a\n", "ü.example", "a" * 64),
    ],
)
def test_nothing_else_is(host: str) -> None:
    assert host_problem(host)


@given(st.text())
def test_whatever_a_request_names_it_means_a_host_or_none(authority: str) -> None:
    assert match_host(["a.example", "*.example"], authority) in ("a.example", "*.example", "")


def test_a_routes_host_is_checked_by_line_and_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"service\.toml:6: `host` is 'API\.x', which is no host name"):
        load(tmp_path, api=routed('path = "/a"', 'host = "API.x"\npath = "/a"'))


def test_one_path_at_two_hosts_is_two_routes(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        api=routed('path = "/"\nhost = "a.example"', 'path = "/"\nhost = "b.example"'),
        web=routed('path = "/"'),
    )
    check_hosts(found.services, stack())
    check_hosts(found.services, stack(host="shop.example"))
    with pytest.raises(ConfigError, match=r"web/service\.toml:4: a\.example/ is also a route of the service `api`"):
        check_hosts(found.services, stack(host="a.example"))
    with pytest.raises(ConfigError, match=r"`path` a\.example/x is taken by the service `api`"):
        load(tmp_path / "b", api=routed('path = "/x"\nhost = "a.example"'), b=routed('path = "/x"\nhost = "a.example"'))


def test_a_service_at_a_host_of_its_own_is_called_directly(tmp_path: Path) -> None:
    found = load(tmp_path, api=routed('path = "/v1"\nhost = "api.example"\nstrip = true'), web=routed('path = "/w"'))
    assert service_url(found.service("api"), "docker") == "http://api:8000"
    assert service_url(found.service("web"), "docker") == "http://gateway:8080/w"


@pytest.mark.parametrize(
    ("tables", "settings", "says"),
    [
        (['path = "/"', 'path = "/"\nhost = "a.example"'], {}, ":7: `host` cannot be had on Kubernetes beside routes"),
        (
            ['path = "/"\nhost = "a.example.com"', 'path = "/"\nhost = "*.example.com"'],
            {"parent": "infra/public"},
            r":8: `host` \*\.example\.com cannot be had on Kubernetes beside a\.example\.com",
        ),
        (
            ['path = "/"\nhost = "*.example.com"'],
            {"ingress": "nginx", "host": "shop.example"},
            r"cannot be had with the Ingress that infra/Pulumi\.prod\.yaml names",
        ),
    ],
)
def test_what_kubernetes_would_mix_is_refused(
    tmp_path: Path, tables: list[str], settings: dict[str, str], says: str
) -> None:
    found = load(tmp_path, api=routed(*tables))
    check_hosts(found.services, stack())
    with pytest.raises(ConfigError, match=says):
        check_hosts(found.services, stack("kubernetes", **settings))


def test_a_stack_on_docker_has_a_host_by_the_same_setting(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    file = tmp_path / "infra" / "Pulumi.dev.yaml"
    text = "config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:host: shop.example.com\n"
    file.write_text(text)
    assert hosts_of_stack(stacks.load(tmp_path, "dev", {})) == ("shop.example.com",)
    file.write_text(text.replace("shop.example.com", "gateway"))
    with pytest.raises(ConfigError, match=r"Pulumi\.dev\.yaml:4: `slipway:host` is 'gateway'"):
        stacks.load(tmp_path, "dev", {})
    (tmp_path / "infra" / "targets").mkdir()
    (tmp_path / "infra" / "targets" / "own.py").write_text("")
    file.write_text(f"{text}  slipway:target: own\n")
    with pytest.raises(ConfigError, match=r"Pulumi\.dev\.yaml:4: `slipway:host` is a setting of stacks on Docker"):
        stacks.load(tmp_path, "dev", {})
