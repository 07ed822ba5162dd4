"""The API predicts what the model says, and refuses what is no flower."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import VERSION
from app.main import MAX_ROWS, ROUTE, app
from app.model import FILE

SETOSA = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
VIRGINICA = {"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}


@pytest.fixture
def client() -> TestClient:
    return TestClient(app)


def predict(client: TestClient, *flowers: dict[str, Any]) -> Any:
    return client.post(f"{ROUTE}/predict", json={"flowers": list(flowers)})


def test_each_flower_is_given_its_species(client: TestClient) -> None:
    answer = predict(client, SETOSA, VIRGINICA).json()
    assert answer["model"] == FILE.stem
    assert [each["species"] for each in answer["predictions"]] == ["setosa", "virginica"]
    for each in answer["predictions"]:
        assert math.isclose(sum(each["probabilities"].values()), 1, abs_tol=1e-5)
        assert each["probabilities"][each["species"]] > 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        {"petal_width": -1},
        {"petal_width": 0},
        {"petal_width": 1000},
        {"petal_width": "wide"},
        {"petal_width": None},
        {"colour": 3},
    ],
)
def test_what_is_no_flower_is_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    answer = predict(client, SETOSA, {**SETOSA, **wrong})
    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.text


def test_numbers_that_are_none_are_refused(client: TestClient) -> None:
    body = '{"flowers": [{"sepal_length": NaN, "sepal_width": 1, "petal_length": 1, "petal_width": Infinity}]}'
    answer = client.post(f"{ROUTE}/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_no_flower_and_too_many_are_refused(client: TestClient) -> None:
    assert predict(client).status_code == 422
    assert predict(client, *[SETOSA] * MAX_ROWS).status_code == 200
    assert predict(client, *[SETOSA] * (MAX_ROWS + 1)).status_code == 422


def test_info_names_the_versions_of_the_code_and_of_the_model(client: TestClient) -> None:
    found = client.get(f"{ROUTE}/info").json()
    assert found["version"] == VERSION
    assert found["model"]["name"] == FILE.stem
    assert found["model"]["sha256"] == hashlib.sha256(FILE.read_bytes()).hexdigest()


def test_health_is_answered_at_the_root_and_below_the_route(client: TestClient) -> None:
    for path in ("/health", f"{ROUTE}/health"):
        assert client.get(path).json() == {"status": "ok"}


def test_the_route_itself_says_where_to_go(client: TestClient) -> None:
    links = client.get(ROUTE or "/").json()
    assert all(client.get(link).status_code == 200 for link in links.values())
