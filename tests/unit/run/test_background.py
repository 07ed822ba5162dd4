"""Work in a thread of its own hands over its result or its error."""

from __future__ import annotations

import threading

import pytest

from slipway._internal.rollout.cancellation import CancellationToken, Cancelled
from slipway._internal.rollout.drain import run_interruptibly
from slipway._internal.run.background import Background


def test_a_result_and_an_error_are_handed_over() -> None:
    good, bad = Background(lambda: 7), Background(lambda: 1 // 0)
    assert good.wait(60) and bad.wait(60)
    assert good.result() == 7
    with pytest.raises(ZeroDivisionError):
        bad.result()


def test_work_that_takes_longer_is_left_to_itself() -> None:
    go_on = threading.Event()
    background = Background(lambda: go_on.wait(60))
    assert not background.wait(0.01)
    go_on.set()
    assert background.wait(60) and background.result() is True


def test_what_cannot_be_interrupted_is_left_when_the_user_interrupts() -> None:
    go_on, cancellation = threading.Event(), CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        run_interruptibly(lambda: go_on.wait(60) and None, cancellation)
    go_on.set()
    done: list[bool] = []
    run_interruptibly(lambda: done.append(True), CancellationToken())
    assert done == [True]
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0 and None, CancellationToken())
