"""A protected stack takes images of a commit that this repository has; nothing is signed where there is no commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.context import commits
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model import lock
from slipway._internal.model.errors import EvidenceError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import Workspace, WorkspaceSettings

STAGING = Stack("staging", Path("Pulumi.staging.yaml"), "external", "docker", protected=False)
PROD = replace(STAGING, name="prod", protected=True)
COMMIT = "f" * 40
LOCK = Path("deploy/prod.lock.json")


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, WorkspaceSettings("shop", "127.0.0.1:5000"), ())


class RecordingReporter(NullReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def entries(commit: str | None) -> Mapping[str, lock.LockEntry]:
    return {"api": lock.LockEntry(f"r.example/shop/api@sha256:{'a' * 64}", "c" * 64, commit)}


@pytest.mark.parametrize("stack", [STAGING, PROD])
def test_what_is_of_a_commit_is_signed_with_it(shop: Workspace, stack: Stack) -> None:
    assert commits.commit_to_sign(shop, stack, COMMIT, NullReporter()) == COMMIT


@pytest.mark.parametrize("stack", [STAGING, PROD])
def test_nothing_is_signed_outside_of_any_commit(
    shop: Workspace, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits.git, "head_commit", lambda _root: None)
    with pytest.raises(EvidenceError, match="in no commit") as caught:
        commits.commit_to_sign(shop, stack, None, NullReporter())
    assert "git commit" in caught.value.remedy


def test_files_that_differ_from_the_commit_are_for_unprotected_stacks_only(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits.git, "head_commit", lambda _root: COMMIT)
    report = RecordingReporter()
    assert commits.commit_to_sign(shop, STAGING, None, report) is None
    assert "protected stacks will refuse them" in report.lines[0]
    with pytest.raises(EvidenceError, match="files differ from the commit"):
        commits.commit_to_sign(shop, PROD, None, report)


@pytest.mark.parametrize(("known", "refused"), [(True, False), (None, False), (False, True)])
def test_a_commit_of_another_repository_is_refused_where_the_whole_history_is_here(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch, known: bool | None, refused: bool
) -> None:
    monkeypatch.setattr(commits.git, "has_commit", lambda _root, _commit: known)
    if not refused:
        return commits.refuse_unreviewed(shop.root, LOCK, entries(COMMIT))
    with pytest.raises(EvidenceError, match="commits that this repository does not have") as caught:
        commits.refuse_unreviewed(shop.root, LOCK, entries(COMMIT))
    assert caught.value.detail == f"api: {COMMIT}"
    return None


def test_without_a_commit_nothing_is_for_a_protected_stack(shop: Workspace) -> None:
    with pytest.raises(EvidenceError, match="names no commit"):
        commits.refuse_unreviewed(shop.root, LOCK, entries(None))
