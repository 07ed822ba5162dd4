"""Which changes go the ordinary way, and which stacks are none to work on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.dev.loop import refuse_unsuitable_stack
from slipway._internal.dev.settings import DeployedSettings
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack

STACK = Stack("dev", Path("Pulumi.dev.yaml"), "inline", "docker", protected=False)


def settings(root: Path) -> DeployedSettings:
    return DeployedSettings.of(workspaces.load_workspace(root), "dev")


@pytest.mark.parametrize(
    ("file", "text", "ordinary"),
    [
        ("services/api/service.toml", 'kind = "x"\nroute = "/api"\nport = 8001\n', True),
        ("services/api/service.toml", 'kind = "x"\nroute = "/api"\nport = 8000\n[env]\nA = "b"\n', True),
        (
            "services/api/service.toml",
            'kind = "y"\nroute = "/api"\nport = 8000\ntarget = "x"\n[args]\nA = "b"\n',
            False,
        ),
        ("services/api/service.toml", 'kind = "x"\nroute = "/api"\nport = 8000\n[dev]\nsync = ["app"]\n', False),
        ("services/api/Dockerfile", "FROM other\n", False),
        ("services/api/main.py", "pass\n", False),
        ("workspace.toml", 'name = "demo"\nregistry = "127.0.0.1:5000"\n[gateway]\nport = 9000\n', True),
        (
            "infra/Pulumi.dev.yaml",
            "config:\n  slipway:images: inline\n  slipway:protected: false\n  api:TOKEN: {secure: x}\n",
            True,
        ),
    ],
)
def test_what_only_pulumi_can_change_goes_the_ordinary_way(root: Path, file: str, text: str, ordinary: bool) -> None:
    before = settings(root)
    (root / file).write_text(text)
    assert (settings(root) != before) is ordinary


def test_a_service_that_comes_or_goes_is_pulumis_affair(root: Path) -> None:
    before = settings(root)
    service = root / "services" / "more"
    service.mkdir()
    (service / "service.toml").write_text('kind = "x"\n')
    (service / "Dockerfile").write_text("FROM scratch\n")
    assert settings(root) != before


@pytest.mark.parametrize(
    ("change", "word"),
    [({"protected": True, "mode": "external"}, "protected"), ({"mode": "external"}, "external")],
)
def test_a_stack_that_takes_only_what_is_locked_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        refuse_unsuitable_stack(replace(STACK, **change))  # type: ignore[arg-type]
    assert "invoke" in caught.value.remedy


@pytest.mark.parametrize("images", ["inline", "hybrid"])
def test_others_are_not(images: str) -> None:
    stack = replace(STACK, mode=images)  # type: ignore[arg-type]
    refuse_unsuitable_stack(stack)
    with pytest.raises(ConfigError):
        refuse_unsuitable_stack(replace(stack, protected=True))
