"""The remedy fits what the failed step said."""

from __future__ import annotations

import pytest

from slipway._internal.build.remedies import build_remedy


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("write /oci/x: no space left on device", "Free some disk space"),
        ("npm error ENOSPC", "Free some disk space"),
        ("Temporary failure in name resolution", "proxy"),
        ("connect ECONNREFUSED 127.0.0.1:9", "pip-conf"),
        ("CERTIFICATE_VERIFY_FAILED", "`ca`"),
        ("getting host: error listing credentials - err: exit status 1, out: `pass not initialized`", "credsStore"),
        (
            "error getting credentials - err: exec: docker-credential-x: not found",
            "config.json",
        ),
        ("exit code: 1", "services/api/Dockerfile"),
        ("step resolve image config for docker-image://docker.io/docker/dockerfile:1.7@sha256:0 failed", "1.28"),
        (
            "failed to resolve source metadata for docker.io/docker/dockerfile@sha256:0: i/o timeout",
            "needs no registry",
        ),
    ],
)
def test_what_was_said_decides_the_remedy(said: str, remedy: str) -> None:
    assert remedy in build_remedy("api", said)
