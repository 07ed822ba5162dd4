"""The verb that has a certificate renewed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from tests.unit.tasks.conftest import Flows, ended_with

from slipway._internal.model.certificates import Certificate
from slipway._internal.release import certificates as flow
from slipway._internal.release.issue import IssueResult
from slipway._internal.tasks import certificate

SERVED = Certificate("", ("shop.example.com",), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))


@pytest.mark.parametrize(("issued", "says"), [(True, "was issued"), (False, "is not due")])
def test_it_says_what_was_done(flows: Flows, capsys: pytest.CaptureFixture[str], issued: bool, says: str) -> None:
    flows.replace(flow, "renew_certificate", IssueResult(SERVED, issued))
    ended_with(0, certificate.certificate, "renew", again=True)
    assert flows.options("renew_certificate") == {"again": True}
    said = " ".join(capsys.readouterr().out.split())
    assert f"shop.example.com: the certificate {says}, and ends at 2026-04-01 00:00 UTC" in said


def test_it_shows_what_is_served(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    flows.replace(flow, "served_certificate", SERVED)
    ended_with(0, certificate.certificate, "show")
    assert "ends at 2026-04-01" in capsys.readouterr().out
    ended_with(0, certificate.certificate, "show", json=True)
    assert json.loads(capsys.readouterr().out) == {
        "hosts": ["shop.example.com"],
        "begins": "2026-01-01T00:00:00+00:00",
        "renewal": "2026-03-02T00:00:00+00:00",
        "ends": "2026-04-01T00:00:00+00:00",
        "due": True,
    }
    flows.replace(flow, "served_certificate", None)
    ended_with(0, certificate.certificate, "show")
    assert "serves no certificate" in capsys.readouterr().out


def test_what_is_no_action_is_refused(flows: Flows) -> None:
    ended_with(2, certificate.certificate, "issue")
