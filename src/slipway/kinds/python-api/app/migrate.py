"""Brings the database up to date: `python -m app.migrate`, the service's `release` command.

Each file in migrations/ is applied once, in the order of their names, each in a transaction of its own with the note
that it was applied. Of two that run at once, one waits for the other.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from app import store

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_265_341
"""The number of the lock that migrations take; any will do, as long as nothing else takes the same."""


def pending(applied: set[str], folder: Path = MIGRATIONS) -> list[Path]:
    """Return the files that were not applied yet, in order."""
    return [path for path in sorted(folder.glob("*.sql")) if path.name not in applied]


def migrate(connection: psycopg.Connection) -> list[str]:
    """Apply what is pending, and return the names of those files."""
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at timestamptz DEFAULT now())")
    applied = {row[0] for row in connection.execute("SELECT name FROM migrations")}
    files = pending(applied)
    for file in files:
        with connection.transaction():
            connection.execute(file.read_bytes())
            connection.execute("INSERT INTO migrations (name) VALUES (%s)", (file.name,))
    return [file.name for file in files]


def main() -> None:
    """Migrate the database that the service needs."""
    with psycopg.connect(store.database_url(), autocommit=True) as connection:
        names = migrate(connection)
    print(f"applied {', '.join(names)}" if names else "the database is up to date", flush=True)


if __name__ == "__main__":
    main()
