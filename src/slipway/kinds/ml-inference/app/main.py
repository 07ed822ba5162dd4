"""The API: predictions for flowers that are measured in centimetres, and what this instance is."""

from __future__ import annotations

import os
import platform
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app import VERSION
from app.model import Model
from common import secrets

ROUTE = os.environ.get("ROUTE", "").rstrip("/")
MAX_ROWS = 1000

# Read before the first request: a container that cannot read its model never gets healthy, and the old one stays.
model = Model()
app = FastAPI(title="Inference", version=VERSION, docs_url=f"{ROUTE}/docs", openapi_url=f"{ROUTE}/openapi.json")
api = APIRouter()

Centimetres = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class Flower(BaseModel):
    """A flower's measures, by the model's own names for them."""

    model_config = ConfigDict(extra="forbid")

    sepal_length: Centimetres
    sepal_width: Centimetres
    petal_length: Centimetres
    petal_width: Centimetres


class Question(BaseModel):
    """What to predict: rows are answered together, which costs little more than one."""

    model_config = ConfigDict(extra="forbid")

    flowers: Annotated[list[Flower], Field(min_length=1, max_length=MAX_ROWS)]


class Prediction(BaseModel):
    """The likeliest species, and how likely each is."""

    species: str
    probabilities: dict[str, float]


class Answer(BaseModel):
    """One prediction for each flower, in order, and which model it is from."""

    model: str
    predictions: list[Prediction]


@api.get("/health")
async def health() -> dict[str, str]:
    """Say that requests are answered."""
    return {"status": "ok"}


@api.post("/predict")
def predict(question: Question) -> Answer:
    """Return what the model says; in a thread of its own, so that others are answered meanwhile."""
    rows = [[getattr(flower, name) for name in model.features] for flower in question.flowers]
    predictions = [
        Prediction(species=max(found, key=found.__getitem__), probabilities=found) for found in model.predict(rows)
    ]
    return Answer(model=model.name, predictions=predictions)


@api.get("/info")
async def info() -> dict[str, Any]:
    """Return what this instance is: versions, the model, and which settings and secrets it was given."""
    return {
        "service": "inference",
        "version": VERSION,
        "model": {"name": model.name, "sha256": model.sha256, "labels": model.labels, "runs-on": model.providers},
        "runtime": f"Python {platform.python_version()}",
        "instance": platform.node(),
        "env": {name: os.environ[name] for name in ("ROUTE", "PORT", "THREADS") if name in os.environ},
        "secrets": secrets.names(),
    }


@app.exception_handler(RequestValidationError)
async def refuse(_request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong and where, without the value: NaN, which Python reads, cannot be sent back as JSON."""
    found = [{key: each[key] for key in ("loc", "msg", "type")} for each in error.errors()]
    return JSONResponse({"detail": found}, status_code=422)


async def index() -> dict[str, str]:
    """Say where to go from here."""
    return {name: f"{ROUTE}/{name}" for name in ("info", "health", "docs")}


app.add_api_route(ROUTE or "/", index, include_in_schema=False)

# Below the route for the gateway, which passes paths on unchanged; at the root for the container's own health check.
app.include_router(api, prefix=ROUTE)
if ROUTE:
    app.add_api_route("/health", health, include_in_schema=False)
