"""One turn of the work: asks the API what is in stock and logs it."""

from __future__ import annotations

import logging

import httpx2

from common.models import Item, total

TIMEOUT_SECONDS = 1.5
log = logging.getLogger("worker")
# One line a turn is enough: the client's own would double it.
logging.getLogger("httpx2").setLevel(logging.WARNING)


def take_stock(url: str, transport: httpx2.BaseTransport | None = None) -> int | None:
    """Return how many pieces the API has in stock; None, and a warning in the log, when it does not say.

    An API that is down is no reason to end: it may be on its way up.
    """
    try:
        with httpx2.Client(timeout=TIMEOUT_SECONDS, transport=transport) as client:
            answer = client.get(f"{url}/items").raise_for_status()
        items = [Item.read(each) for each in answer.json()]
    except (httpx2.HTTPError, ValueError, TypeError) as error:
        log.warning("the API does not answer", extra={"url": url, "why": str(error) or type(error).__name__})
        return None
    log.info("stock taken", extra={"items": len(items), "pieces": total(items)})
    return total(items)
