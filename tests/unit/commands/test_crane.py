"""Commands for crane: plain HTTP, and with it any certificate, only where a registry was found to speak it."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.commands import crane

DIGEST = "sha256:" + "a" * 64


def test_a_layout_is_pushed_under_its_name_or_digest() -> None:
    assert crane.push(Path("/t/crane"), Path("/o/api"), "ghcr.io/a/b:t") == [
        "/t/crane",
        "push",
        "/o/api",
        "ghcr.io/a/b:t",
    ]
    assert crane.push(Path("c"), Path("l"), f"ghcr.io/a/b@{DIGEST}")[-1] == f"ghcr.io/a/b@{DIGEST}"


def test_an_image_is_fetched_into_a_layout() -> None:
    assert crane.pull(Path("c"), f"ghcr.io/a@{DIGEST}", Path("/l")) == [
        "c",
        "pull",
        "--format",
        "oci",
        f"ghcr.io/a@{DIGEST}",
        "/l",
    ]


def test_a_certificate_is_always_checked_but_where_there_is_none() -> None:
    assert "--insecure" not in crane.push(Path("c"), Path("l"), "127.0.0.1:5000/a:t")
    assert crane.push(Path("c"), Path("l"), "127.0.0.1:5000/a:t", plain=True)[-1] == "--insecure"
    assert crane.pull(Path("c"), "127.0.0.1:5000/a:t", Path("l"), plain=True)[-1] == "--insecure"
