"""The items in the database that the service needs, if it needs one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from common import secrets
from common.models import Item

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

DATABASE = "DB_URL"
"""The secret with the database's address. The service `db` in `needs` brings it."""
WAIT_SECONDS = 5.0
"""How long a request waits for the database, before it is answered with an error."""


def database_url() -> str:
    """Return the database's address, password included; LookupError where the service needs none."""
    return secrets.read(DATABASE)


def has_database() -> bool:
    """Whether the service needs a database."""
    return DATABASE in secrets.names()


def list_items() -> list[Item]:
    """Return all that is in stock."""
    with _pool().connection() as connection:
        return [Item(*row) for row in connection.execute("SELECT id, name, stock FROM items ORDER BY id")]


def add_item(name: str, stock: int) -> Item:
    """Add something to what is in stock, and return it; what has the name already gets the new stock."""
    with _pool().connection() as connection:
        row = connection.execute(
            "INSERT INTO items (name, stock) VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET stock = excluded.stock RETURNING id, name, stock",
            (name, stock),
        ).fetchone()
        assert row is not None  # RETURNING gives what was written
        return Item(*row)


@lru_cache
def _pool() -> ConnectionPool:
    """Return the connections to the database, which are opened when they are needed and again when they break."""
    from psycopg_pool import ConnectionPool

    return ConnectionPool(
        database_url(), min_size=1, max_size=8, timeout=WAIT_SECONDS, check=ConnectionPool.check_connection, open=True
    )
