"""A service is told its port, its route and where the services are that it needs; its own words count more."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.commands import envoy
from slipway._internal.model import environment, workspace
from slipway._internal.model.environment import service_environment
from slipway._internal.model.stack import Stack


@pytest.fixture
def shop(tmp_path: Path) -> workspace.Workspace:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    for name, text in {
        "api": 'kind = "k"\nroute = "/api"\nport = 8000\n[env]\nX = "1"\n',
        "price-list": 'kind = "k"\nroute = "/"\nport = 9000\nneeds = ["api"]\n[env]\nPORT = "9001"\n',
        "worker": 'kind = "k"\nneeds = ["price-list", "api"]\n',
        "own": 'kind = "k"\nneeds = ["api"]\n[env]\nAPI_URL = "http://mock"\n',
    }.items():
        (tmp_path / "services" / name).mkdir(parents=True)
        (tmp_path / "services" / name / "service.toml").write_text(text)
        (tmp_path / "services" / name / "Dockerfile").write_text("FROM scratch\n")
    return workspace.load_workspace(tmp_path)


@pytest.mark.parametrize(
    ("service", "target", "expected"),
    [
        ("api", "docker", {"PORT": "8000", "ROUTE": "/api", "X": "1"}),
        ("worker", "docker", {"API_URL": "http://gateway:8080/api", "PRICE_LIST_URL": "http://gateway:8080"}),
        ("worker", "kubernetes", {"API_URL": "http://api:8000/api", "PRICE_LIST_URL": "http://price-list:9000"}),
        ("own", "kubernetes", {"API_URL": "http://mock"}),
        ("price-list", "kubernetes", {"PORT": "9001", "ROUTE": "/", "API_URL": "http://api:8000/api"}),
    ],
)
def test_a_services_environment_fits_the_target(
    shop: workspace.Workspace, service: str, target: str, expected: dict[str, str]
) -> None:
    stack = Stack("dev", Path("Pulumi.dev.yaml"), mode="inline", target=target, protected=False)
    assert service_environment(shop, shop.service(service), stack) == expected


def test_the_address_of_what_runs_elsewhere_is_a_secret_and_not_here(shop: workspace.Workspace) -> None:
    stack = Stack("dev", Path("x"), mode="inline", target="docker", protected=False, external=frozenset({"price-list"}))
    assert service_environment(shop, shop.service("worker"), stack) == {"API_URL": "http://gateway:8080/api"}


def test_the_gateway_is_called_where_it_listens() -> None:
    assert environment.GATEWAY_URL.endswith(f":{envoy.LISTEN_PORT}")
