"""A workspace whose path a tool would misread is refused at once; any other one is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace_path import refuse_unsafe_path


@pytest.mark.parametrize("char", ["%", "#", "?", ":", '"', "$", "`", "\\", "\n", "\t", "\x1b", "\udcff", "\u202e"])
def test_a_character_that_is_misread_is_named(char: str) -> None:
    with pytest.raises(ConfigError, match="in a path does not work") as caught:
        refuse_unsafe_path(Path(f"/home/ann/a{char}b/demo"))
    named = char if char.isascii() and char.isprintable() else repr(char)
    assert f" {named} in a path" in caught.value.message
    assert caught.value.message.isprintable()
    assert "rename the folder" in caught.value.remedy


@pytest.mark.parametrize(
    "name", ["a b", "a,b", "a&b", "a=b", "a+b", "a'b", "-a", "büro", "船", "a@b", "(a)", "a~b", "a;b"]
)
def test_other_paths_are_taken(name: str) -> None:
    refuse_unsafe_path(Path("/home/ann") / name / "demo")
    with pytest.raises(ConfigError, match=" % in a path"):
        refuse_unsafe_path(Path("/home/ann") / f"{name}%" / "demo")
