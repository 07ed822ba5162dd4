"""`.cruft.json` holds what cruft reads, and nobody's folders or logins."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from slipway._internal.scaffold.template_record import generated_record, record_text, without_credentials

ANSWERS = {"name": "shop", "__checked": "yes", "_choices": {"ci": ["github"]}, "_output_dir": "/home/ann/shop"}
WHO = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://ann:hunter22@forge.example/slipway.git", "https://forge.example/slipway.git"),
        ("https://ghp_token@forge.example:8443/slipway", "https://forge.example:8443/slipway"),
        ("https://forge.example/slipway.zip?token=hunter22#v1", "https://forge.example/slipway.zip"),
        ("ssh://git:hunter22@forge.example/slipway", "ssh://git@forge.example/slipway"),
        ("git@forge.example:acme/slipway.git", "git@forge.example:acme/slipway.git"),
        ("file:///srv/slipway.git", "file:///srv/slipway.git"),
        ("/srv/slipway", "/srv/slipway"),
    ],
)
def test_an_address_is_kept_without_logins(address: str, public: str) -> None:
    assert without_credentials(address) == public


def test_a_record_has_what_cruft_reads_and_the_private_answers() -> None:
    text = record_text(
        ANSWERS,
        template="https://a:b@forge.example/t",
        commit="1" * 40,
        checkout="v1",
        directory=None,
        skip=["x", ".cruft.json"],
    )
    assert json.loads(text) == {
        "template": "https://forge.example/t",
        "commit": "1" * 40,
        "checkout": "v1",
        "context": {
            "cookiecutter": {
                "name": "shop",
                "__checked": "yes",
                "_choices": {"ci": ["github"]},
                "_template": "https://forge.example/t",
            }
        },
        "directory": None,
        "skip": [".cruft.json", "x"],
    }
    assert text.endswith("}\n")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template in a git repository, below its top."""
    folder = tmp_path / "repository" / "templates" / "one"
    folder.mkdir(parents=True)
    (folder / "cookiecutter.json").write_text("{}")
    git(folder, "init", "--quiet", str(tmp_path / "repository"))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *WHO, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def recorded(template: Path, typed: str, repo: str, checkout: str | None = None) -> tuple[str, str, str, str]:
    answers = {**ANSWERS, "_template": typed, "_repo_dir": repo, "_checkout": checkout}
    found = json.loads(generated_record(answers, template))
    return found["template"], found["commit"], found["checkout"], found["directory"]


@pytest.mark.parametrize("typed", ["{template}", "../one", "."])
def test_a_path_is_recorded_from_the_root_however_it_was_typed(template: Path, typed: str) -> None:
    typed = typed.format(template=template)
    top, head = str(template.parents[1]), git(template, "rev-parse", "HEAD")
    assert recorded(template, typed, typed, "ignored") == (top, head, None, "templates/one")


def test_of_a_clone_the_address_it_came_from_is_recorded(template: Path, tmp_path: Path) -> None:
    git(template, "remote", "add", "origin", "https://ann:hunter22@forge.example/acme/slipway.git")
    clone = str(tmp_path / "repository")
    head = git(template, "rev-parse", "HEAD")
    address = "https://forge.example/acme/slipway.git"
    assert recorded(template, "acme:slipway", clone, "v1") == (address, head, "v1", "templates/one")


@pytest.mark.parametrize("around", [False, True])
def test_without_a_repository_the_record_has_no_commit(tmp_path: Path, around: bool) -> None:
    """A repository that lies around the template, and does not have it, is not the template's."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    (folder / "cookiecutter.json").write_text("{}")
    if around:
        git(tmp_path, "init", "--quiet")
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "another's")
    zipped = "https://forge.example/slipway.zip?token=hunter22"
    assert recorded(folder, zipped, str(folder)) == ("https://forge.example/slipway.zip", None, None, None)
    assert recorded(folder, "unpacked", "unpacked") == (str(folder), None, None, None)
