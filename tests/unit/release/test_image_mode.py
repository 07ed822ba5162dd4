"""`invoke mode` without a mode shows all stacks, or the named one, which must exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.insight.advice import advise_modes
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace, load_workspace
from slipway._internal.release.image_mode import list_modes
from tests import synthetic


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = synthetic.workspace(tmp_path, 1)
    (root / "infra" / "Pulumi.qa.yaml").write_text(
        "config:\n  slipway:images: external\n  slipway:protected: true\n", encoding="utf-8"
    )
    return load_workspace(root)


def test_all_stacks_are_shown_or_the_one_that_is_named(workspace: Workspace) -> None:
    assert [(each.name, each.images) for each in list_modes(workspace)] == [("dev", "inline"), ("qa", "external")]
    assert [(each.name, each.protected) for each in list_modes(workspace, "qa")] == [("qa", True)]
    assert [each.profile.stack for each in advise_modes(workspace)] == ["dev", "qa"]
    assert [each.profile.stack for each in advise_modes(workspace, "qa")] == ["qa"]


def test_a_stack_that_is_not_there_is_refused_with_those_that_are(workspace: Workspace) -> None:
    for show in (list_modes, advise_modes):
        with pytest.raises(ConfigError, match="nowhere") as caught:
            show(workspace, "nowhere")
        assert "dev" in caught.value.remedy and "qa" in caught.value.remedy
