"""The API: what is in stock, and what this instance is."""

from __future__ import annotations

import os
import platform
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field

from app import VERSION, store
from common import secrets
from common.models import Item

ROUTE = os.environ.get("ROUTE", "").rstrip("/")
STOCK = [Item(1, "anchor", 12), Item(2, "cable", 40), Item(3, "compass", 7), Item(4, "lantern", 23)]
"""What is in stock where the service needs no database."""

app = FastAPI(title="API", version=VERSION, docs_url=f"{ROUTE}/docs", openapi_url=f"{ROUTE}/openapi.json")
api = APIRouter()


class NewItem(BaseModel):
    """Something to add to what is in stock."""

    name: str = Field(min_length=1, max_length=100)
    stock: int = Field(ge=0, le=1_000_000)


@api.get("/health")
async def health() -> dict[str, str]:
    """Say that requests are answered."""
    return {"status": "ok"}


@api.get("/items")
def items() -> list[Item]:
    """Return all that is in stock."""
    return store.list_items() if store.has_database() else STOCK


@api.post("/items", status_code=201)
def add_item(item: NewItem) -> Item:
    """Add something to what is in stock."""
    if store.has_database():
        return store.add_item(item.name, item.stock)
    STOCK.append(Item(len(STOCK) + 1, item.name, item.stock))
    return STOCK[-1]


@api.get("/info")
async def info() -> dict[str, Any]:
    """Return what this instance is: versions, and which settings and secrets it was given (never a secret's value)."""
    return {
        "service": "api",
        "version": VERSION,
        "runtime": f"Python {platform.python_version()}",
        "instance": platform.node(),
        "env": {name: os.environ[name] for name in ("ROUTE", "PORT") if name in os.environ},
        "secrets": secrets.names(),
    }


async def index() -> dict[str, str]:
    """Say where to go from here."""
    return {name: f"{ROUTE}/{name}" for name in ("items", "info", "health", "docs")}


app.add_api_route(ROUTE or "/", index, include_in_schema=False)

# Below the route for the gateway, which passes paths on unchanged; at the root for the container's own health check.
app.include_router(api, prefix=ROUTE)
if ROUTE:
    app.add_api_route("/health", health, include_in_schema=False)
