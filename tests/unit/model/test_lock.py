"""A lock names every service by digest; anything else is not a lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError

REF = f"127.0.0.1:5000/shop/api@sha256:{'a' * 64}"


def test_a_stack_that_was_never_locked_has_an_empty_lock(tmp_path: Path) -> None:
    assert lock.load(tmp_path, "dev").services == {}


def test_what_was_saved_is_read_back_in_order_of_name(tmp_path: Path) -> None:
    entries = {name: lock.LockEntry(REF, "c" * 64, "f" * 40) for name in ("web", "api")}
    lock.save(tmp_path, lock.with_entries(lock.Lock("dev"), entries))
    found = lock.load(tmp_path, "dev")
    assert list(found.services) == ["api", "web"]
    assert found.services["api"].ref == REF


@pytest.mark.parametrize(
    "text",
    [
        "{",
        json.dumps({"stack": "prod"}),
        json.dumps({"stack": "dev", "version": 9}),
        json.dumps({"stack": "dev", "services": {"api": {"ref": "shop/api:latest", "content": "c"}}}),
        json.dumps({"stack": "dev", "services": {"api": {"ref": "shop/api@sha256:short", "content": "c"}}}),
        json.dumps({"stack": "dev", "extra": 1}),
        json.dumps({"stack": "dev", "services": []}),
        json.dumps({"stack": "dev", "services": {"api": None}}),
        json.dumps({"stack": "Dev", "services": {}}),
        '{"stack": "dev", "services": {}, "services": {}}',
        json.dumps({"services": {"api": {}}}),
    ],
)
def test_a_damaged_or_foreign_lock_is_refused_with_a_remedy(tmp_path: Path, text: str) -> None:
    path = lock.path_of(tmp_path, "dev")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(EvidenceError) as caught:
        lock.load(tmp_path, "dev")
    assert caught.value.exit_code == 4
    assert "git" in caught.value.remedy


GOOD = {"ref": REF, "content": "c" * 64, "commit": "f" * 40, "evidence": {"sbom": f"sha256:{'5' * 64}"}}


@pytest.mark.parametrize(
    ("service", "instead", "said"),
    [
        ("api", {"ref": REF.upper()}, "not locked by digest"),
        ("api", {"ref": f"127.0.0.1:5000/shop/api@sha256:{'A' * 64}"}, "not locked by digest"),
        ("api", {"ref": f"127.0.0.1:5000/shop/api@sha256:{'a' * 63}"}, "not locked by digest"),
        ("api", {"ref": f"127.0.0.1:5000/shop/api@sha512:{'a' * 128}"}, "not locked by digest"),
        ("api", {"ref": f"{REF}\n"}, "not locked by digest"),
        ("api", {"ref": f"@sha256:{'a' * 64}"}, "is not a repository"),
        ("api", {"ref": f"api@sha256:{'a' * 64}"}, "is not a repository"),
        ("api", {"ref": f"http://127.0.0.1/shop/api@sha256:{'a' * 64}"}, "is not a repository"),
        ("api", {"ref": f"127.0.0.1:5000/shop/../api@sha256:{'a' * 64}"}, "is not a repository"),
        ("api", {"ref": 1}, "Expected `str`"),
        ("api", {"commit": ""}, "no commit of git"),
        ("api", {"commit": "main"}, "no commit of git"),
        ("api", {"commit": "f" * 39}, "no commit of git"),
        ("api", {"commit": "F" * 40}, "no commit of git"),
        ("api", {"commit": "0" * 40}, "no commit of git"),
        ("gateway", {}, "not a service name"),
        ("base-nginx", {}, "not a service name"),
        ("api", {"commit": f"{'f' * 40}\n"}, "no commit of git"),
        ("api", {"commit": 40}, "Expected `str | null`"),
        ("api", {"content": "c"}, "no content digest"),
        ("api", {"content": "C" * 64}, "no content digest"),
        ("api", {"evidence": {"sbom": "sha256:1"}}, "not evidence named by digest"),
        ("api", {"evidence": {"../sbom": f"sha256:{'5' * 64}"}}, "not evidence named by digest"),
        ("api", {"evidence": [1]}, "Expected `object`"),
        ("api", {"time": "2099-01-01"}, "unknown field"),
        ("../api", {}, "not a service name"),
        ("a/b", {}, "not a service name"),
        ("", {}, "not a service name"),
        ("API", {}, "not a service name"),
        ("a\x1b[2J", {}, "not a service name"),
    ],
)
def test_a_line_that_says_what_no_gate_wrote_is_refused(
    tmp_path: Path, service: str, instead: dict[str, object], said: str
) -> None:
    path = lock.path_of(tmp_path, "dev")
    path.parent.mkdir()
    path.write_text(json.dumps({"stack": "dev", "services": {service: {**GOOD, **instead}}}))
    with pytest.raises(EvidenceError) as caught:
        lock.load(tmp_path, "dev")
    assert said in caught.value.message
    assert "\x1b" not in caught.value.message


def test_an_image_of_another_repository_is_refused_by_name(tmp_path: Path) -> None:
    entries = {"api": lock.LockEntry(f"evil.example/shop/api@sha256:{'a' * 64}", "c" * 64)}
    lock.refuse_foreign_images(tmp_path, entries, {"api": ["r.example/shop/api", "evil.example/shop/api"]})
    with pytest.raises(EvidenceError, match="outside this stack's repositories") as caught:
        lock.refuse_foreign_images(tmp_path, entries, {"api": ["r.example/shop/api"]})
    assert "is not in r.example/shop/api" in caught.value.detail


@pytest.mark.parametrize("line", [{"commit": None}, {}])
def test_a_line_without_a_commit_can_be_read_and_is_not_for_a_protected_stack(
    tmp_path: Path, line: dict[str, None]
) -> None:
    path = lock.path_of(tmp_path, "dev")
    path.parent.mkdir()
    path.write_text(json.dumps({"stack": "dev", "services": {"api": {"ref": REF, "content": "c" * 64, **line}}}))
    with pytest.raises(EvidenceError, match="api: names no commit") as caught:
        lock.refuse_without_commit(path, lock.load(tmp_path, "dev").services)
    assert caught.value.exit_code == 4
