"""The work: asks the API what is in stock, and reports what is running low.

A run may end at any moment and be started again, so the work is one that can be done twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx2

from common.models import Item, total

TIMEOUT_SECONDS = 5.0
PAUSES_SECONDS = (1.0, 4.0)
"""How long to wait before each further try: a deploy of the API takes no longer. More tries are the scheduler's."""

# What counts is logged once, at the end: the client's own lines would say each request.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class StockError(Exception):
    """The API did not say what is in stock; the message is why."""


def report(url: str, *, low: int, transport: httpx2.BaseTransport | None = None) -> dict[str, Any]:
    """Return how many pieces are in stock, and the names of the items of which there are fewer than `low`.

    Raises:
        StockError: the API does not answer, or makes no sense.
    """
    items = read_stock(url, transport=transport)
    return {
        "items": len(items),
        "pieces": total(items),
        "low": sorted(item.name for item in items if item.stock < low),
    }


def read_stock(
    url: str, *, transport: httpx2.BaseTransport | None = None, wait: Callable[[float], None] = time.sleep
) -> list[Item]:
    """Return what the API has in stock, after some tries.

    Raises:
        StockError: it does not answer, or makes no sense.
    """
    problem = ""
    with httpx2.Client(timeout=TIMEOUT_SECONDS, transport=transport) as client:
        for pause in (*PAUSES_SECONDS, None):
            try:
                return [Item.read(each) for each in client.get(f"{url}/items").raise_for_status().json()]
            except httpx2.HTTPError as error:
                problem = (str(error) or type(error).__name__).splitlines()[0]
            except (ValueError, TypeError) as error:  # it would say the same again
                raise StockError(str(error) or type(error).__name__) from error
            if pause:
                wait(pause)
    raise StockError(problem)
