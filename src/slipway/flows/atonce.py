"""Work on several services at the same time: all of them are carried to their end, and what failed is told together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from slipway.model.errors import GateRefused, SlipwayError
from slipway.run import process

T = TypeVar("T")
R = TypeVar("R")
AT_ONCE = 10


def at_once(items: Iterable[T], name: Callable[[T], str], work: Callable[[T], R]) -> dict[str, R]:
    """Return what `work` returns for each item, by the item's name.

    Every item is worked on to its end, also when another fails: a user mends all that is wrong at once. An interrupt
    ends the programs that are running, and nothing more begins.

    Raises:
        SlipwayError: the work failed for an item; of several failures, one error that tells all.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures: dict[str, Future[R]] = {name(item): pool.submit(work, item) for item in items}
        try:
            failed = {name: error for name, future in futures.items() if (error := future.exception())}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            process.end_all()
            raise
    if failed:
        raise together(failed)
    return {name: future.result() for name, future in futures.items()}


def together(failed: dict[str, BaseException]) -> BaseException:
    """Return one error for several; what is no SlipwayError is a mistake in Slipway and goes first."""
    errors = list(failed.values())
    others = [error for error in errors if not isinstance(error, SlipwayError)]
    if others or len(errors) == 1:
        return (others or errors)[0]
    told = [error for error in errors if isinstance(error, SlipwayError)]
    kind = next((type(error) for error in told if isinstance(error, GateRefused)), type(told[0]))
    parts = [
        "\n".join([error.what, *(f"  {line}" for line in error.detail.splitlines()), *_log(error)]) for error in told
    ]
    return kind(
        f"{len(failed)} services failed: {', '.join(failed)}",
        detail="\n\n".join(parts),
        remedy=told[0].remedy,
    )


def _log(error: SlipwayError) -> list[str]:
    return [f"  log {error.log}"] if error.log else []
