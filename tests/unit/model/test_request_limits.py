"""How large and how slow requests may be: a service's own word counts more than the workspace's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.model.test_workspace import SERVICE, WORKSPACE, refusal, root

from slipway._internal.model import workspace
from slipway._internal.model.request_limits import DEFAULT_LIMITS, RequestLimits, effective_limits

__all__ = ["root"]


def limits(root: Path, for_all: str, own: str) -> RequestLimits:
    (root / "workspace.toml").write_text(f"{WORKSPACE}[gateway]\n{for_all}\n")
    (root / "services" / "api" / "service.toml").write_text(f"{SERVICE}[gateway]\n{own}\n")
    found = workspace.load_workspace(root)
    return effective_limits(found.service("api").settings.gateway, found.settings.gateway)


@pytest.mark.parametrize(
    ("for_all", "own", "wanted"),
    [
        ("", "", DEFAULT_LIMITS),
        ('body = "10m"', "", RequestLimits(body="10m")),
        ('body = "10m"', 'body = "2g"', RequestLimits(body="2g")),
        ('body = "10m"', 'body = "unlimited"', RequestLimits()),
        ("timeouts = { idle = 60, connect = 1 }", "timeouts.idle = 3600", RequestLimits(connect=1, idle=3600)),
    ],
)
def test_a_services_own_limit_counts_before_the_one_for_all(
    root: Path, for_all: str, own: str, wanted: RequestLimits
) -> None:
    assert limits(root, for_all, own) == wanted


@pytest.mark.parametrize("body", ["10", "10mb", "10M", "0", "-1m", "", "10m\n"])
@pytest.mark.parametrize("file", ["workspace.toml", "services/api/service.toml"])
def test_a_size_that_is_none_is_refused_with_its_line(root: Path, file: str, body: str) -> None:
    path = root / file
    path.write_text(f"{path.read_text()}[gateway]\nbody = {body!r}\n".replace("'", '"'))
    error = refusal(root)
    assert f"{file}:{len(path.read_text().splitlines())}: `body` is" in error.message
    assert "100m" in error.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gateway]\ntimeouts = { idle = 0 }\n", "idle"),
        ("[gateway]\ntimeouts = { idle = 1.5 }\n", "idle"),
        ("[gateway]\ntimeouts = { iddle = 1 }\n", "unknown key `iddle`"),
        ("[gateway]\nport = 1\n", "unknown key `port`"),
    ],
)
def test_a_wrong_key_or_time_of_a_service_is_refused(root: Path, text: str, says: str) -> None:
    (root / "services" / "api" / "service.toml").write_text(SERVICE + text)
    assert says in refusal(root).message


def test_a_service_that_takes_no_requests_has_no_limits_for_them(root: Path) -> None:
    (root / "services" / "api" / "service.toml").write_text('kind = "worker"\n[gateway]\nbody = "1m"\n')
    assert "without a `route`" in refusal(root).message
