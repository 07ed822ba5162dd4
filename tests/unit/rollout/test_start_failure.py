"""The error for a container that did not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.cancellation import Cancelled
from slipway._internal.rollout.start_failure import error_to_text, explain_start_failure


class FailedContainer:
    """A container that has written a lot."""

    name = "demo-dev-api-1"

    def logs(self, **_: object) -> bytes:
        return b"".join(b"line %d: the token is open sesame\n" % number for number in range(100))


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where full logs go."""
    monkeypatch.setenv("SLIPWAY_LOGS", str(tmp_path))
    return tmp_path


def test_it_has_service_reason_last_lines_and_the_full_log(folder: Path) -> None:
    error = explain_start_failure("api", FailedContainer(), SlipwayError("it ended", detail="health check: refused"))
    assert isinstance(error, SlipwayError)
    text = error_to_text(error)
    assert text.startswith("service api failed: it ended\nhealth check: refused\n")
    assert "line 99" in text and "line 80" in text and "line 79" not in text
    assert str(folder / "demo-dev-api-1.log") in text
    assert "line 0:" in (folder / "demo-dev-api-1.log").read_text()


def test_a_secret_that_the_program_wrote_to_its_log_is_struck_out(folder: Path) -> None:
    error = explain_start_failure("api", FailedContainer(), SlipwayError("it ended"), ["open sesame"])
    assert isinstance(error, SlipwayError)
    assert "open sesame" not in error_to_text(error)
    assert "open sesame" not in (folder / "demo-dev-api-1.log").read_text()


def test_an_interrupt_stays_an_interrupt() -> None:
    error = Cancelled()
    assert explain_start_failure("api", FailedContainer(), error) is error


def test_last_lines_are_bounded_and_cannot_harm_a_terminal(folder: Path) -> None:
    class NoisyContainer(FailedContainer):
        def logs(self, **_: object) -> bytes:
            return b"\x1b[2J" + b"x" * 1_000_000 + b"\n\xff\x9b2Jlast\r\n"

    error = explain_start_failure("api", NoisyContainer(), SlipwayError("it ended"))
    assert isinstance(error, SlipwayError)
    assert len(error.detail) < 1000
    assert "(1,000,000 letters)" in error.detail and error.detail.endswith("last")
    assert "\x1b" not in error.detail


def test_a_full_volume_is_named_with_the_remedy() -> None:
    class Full:
        name = "shop-dev-db-1"

        def logs(self, **_: object) -> bytes:
            return b"FATAL: could not write lock file: No space left on device\n"

    error = explain_start_failure("db", Full(), SlipwayError("it ended with code 1"), (), ["shop-dev-db.data"])
    assert isinstance(error, SlipwayError)
    assert error.message == "service db failed: it ended with code 1; shop-dev-db.data is full"
    assert "docker volume inspect shop-dev-db.data" in error.remedy
