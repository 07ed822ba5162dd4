"""Works on several services in parallel: each runs to its end, and all failures are reported together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.run import process

T = TypeVar("T")
R = TypeVar("R")
MAX_PARALLEL = 10


def run_parallel(items: Iterable[T], name: Callable[[T], str], work: Callable[[T], R]) -> dict[str, R]:
    """Return what `work` returns for each item, by the item's name.

    Every item runs to its end even when another fails, so that a user can fix everything at once. An interrupt
    ends the programs that are running, and nothing more begins.

    Raises:
        SlipwayError: the work failed for an item; of several failures, one error that tells all.
    """
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        futures: dict[str, Future[R]] = {name(item): pool.submit(work, item) for item in items}
        try:
            failed = {name: error for name, future in futures.items() if (error := future.exception())}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            process.end_all_children()
            raise
    if failed:
        raise combine_errors(failed)
    return {name: future.result() for name, future in futures.items()}


def combine_errors(failed: dict[str, BaseException]) -> BaseException:
    """Return one error for several. Unexpected exceptions are bugs and take precedence."""
    errors = list(failed.values())
    unexpected = [error for error in errors if not isinstance(error, SlipwayError)]
    if unexpected or len(errors) == 1:
        return (unexpected or errors)[0]
    slipway_errors = [error for error in errors if isinstance(error, SlipwayError)]
    error_type = next(
        (type(error) for error in slipway_errors if isinstance(error, GateRefused)), type(slipway_errors[0])
    )
    parts = [
        "\n".join([error.message, *(f"  {line}" for line in error.detail.splitlines()), *_log_lines(error)])
        for error in slipway_errors
    ]
    return error_type(
        f"{len(failed)} services failed: {', '.join(failed)}",
        detail="\n\n".join(parts),
        remedy=slipway_errors[0].remedy,
    )


def _log_lines(error: SlipwayError) -> list[str]:
    return [f"  log {error.log}"] if error.log else []
