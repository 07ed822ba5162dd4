"""The API answers what its users rely on."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app import VERSION
from app.main import ROUTE, app


@pytest.fixture
def client() -> TestClient:
    return TestClient(app)


def test_health_is_answered_at_the_root_and_below_the_route(client: TestClient) -> None:
    for path in ("/health", f"{ROUTE}/health"):
        assert client.get(path).json() == {"status": "ok"}


def test_items_have_a_name_and_a_stock(client: TestClient) -> None:
    found = client.get(f"{ROUTE}/items").json()
    assert found and all(set(item) == {"id", "name", "stock"} for item in found)


def test_an_item_that_is_added_is_in_stock(client: TestClient) -> None:
    made = client.post(f"{ROUTE}/items", json={"name": "sextant", "stock": 2})
    assert made.status_code == 201
    assert made.json() in client.get(f"{ROUTE}/items").json()


@pytest.mark.parametrize("item", [{}, {"name": "", "stock": 1}, {"name": "rope", "stock": -1}])
def test_what_is_no_item_is_refused(client: TestClient, item: dict[str, object]) -> None:
    assert client.post(f"{ROUTE}/items", json=item).status_code == 422


def test_info_names_the_version(client: TestClient) -> None:
    assert client.get(f"{ROUTE}/info").json()["version"] == VERSION


def test_info_shows_only_the_variables_that_it_means_to(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "s3cret")
    assert "s3cret" not in client.get(f"{ROUTE}/info").text


def test_the_route_itself_says_where_to_go(client: TestClient) -> None:
    links = client.get(ROUTE or "/").json()
    assert all(client.get(link).status_code == 200 for link in links.values())
