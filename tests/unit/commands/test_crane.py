"""Commands for crane: plain HTTP for this machine's registries only."""

from __future__ import annotations

from pathlib import Path

from slipway.commands import crane


def test_a_layout_is_pushed_under_its_name() -> None:
    assert crane.push(Path("/t/crane"), Path("/o/api"), "ghcr.io/a/b:t") == [
        "/t/crane",
        "push",
        "/o/api",
        "ghcr.io/a/b:t",
    ]


def test_plain_http_is_for_this_machine_alone() -> None:
    assert crane.push(Path("c"), Path("l"), "127.0.0.1:5000/a:t")[-1] == "--insecure"
    assert crane.push(Path("c"), Path("l"), "localhost/a:t")[-1] == "--insecure"
    assert "--insecure" not in crane.push(Path("c"), Path("l"), "localhost.example/a:t")
    assert crane.copy(Path("c"), "ghcr.io/a:t", "127.0.0.1:1/a:t")[-1] == "--insecure"
