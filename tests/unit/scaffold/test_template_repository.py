"""What `--to` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.errors import ConfigError
from slipway._internal.scaffold.template_repository import TemplateRef, parse_template_ref


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (None, TemplateRef()),
        ("1.4.0", TemplateRef(None, "1.4.0")),
        ("team/next", TemplateRef(None, "team/next")),
        ("https://forge.example/slipway.git", TemplateRef("https://forge.example/slipway.git")),
        ("https://forge.example/slipway.git#1.4.0", TemplateRef("https://forge.example/slipway.git", "1.4.0")),
        ("git@forge.example:acme/slipway.git#main", TemplateRef("git@forge.example:acme/slipway.git", "main")),
        ("ssh://git@forge.example/slipway", TemplateRef("ssh://git@forge.example/slipway")),
        ("gh:acme/slipway", TemplateRef("https://github.com/acme/slipway.git")),
        ("gl:acme/slipway#1.4.0", TemplateRef("https://gitlab.com/acme/slipway.git", "1.4.0")),
    ],
)
def test_a_version_a_url_or_both(text: str | None, target: TemplateRef) -> None:
    assert parse_template_ref(text) == target


def test_a_path_is_taken_from_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slipway").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("./slipway", str(tmp_path / "slipway"), "~/slipway", "./not/../slipway"):
        assert parse_template_ref(text) == TemplateRef(str(tmp_path / "slipway"))
    assert parse_template_ref("slipway") == TemplateRef(None, "slipway"), "which may be a branch"
    (tmp_path / "slipway" / "cookiecutter.json").touch()
    assert parse_template_ref("slipway#1.4.0") == TemplateRef(str(tmp_path / "slipway"), "1.4.0")


@pytest.mark.parametrize(
    "url", ["https://ann:hunter22@forge.example/t", "https://t@forge.example/t", "https://f/t?token=hunter22"]
)
def test_a_url_with_a_login_is_refused_without_saying_it(url: str) -> None:
    with pytest.raises(ConfigError, match="holds a login or a query") as refused:
        parse_template_ref(url)
    assert "hunter22" not in str(refused.value) and "credential helper" in refused.value.remedy
