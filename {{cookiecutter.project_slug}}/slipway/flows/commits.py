"""Says where the commit that a lock or a release is of cannot be known."""

from __future__ import annotations

from slipway.flows.report import Report
from slipway.model.workspace import Workspace
from slipway.run import git


def warn_of_unknown_commit(workspace: Workspace, report: Report) -> None:
    """Say so where there is a repository, but the commit that a lock or a release is of cannot be known."""
    if git.may_be_unknown(workspace.root) and (problem := git.unknown_commit(workspace.root)):
        report.say(f"Without a commit: {problem.what}. {problem.remedy}")
