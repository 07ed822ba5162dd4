"""A clone has a passphrase of its own, unless the stack's file or state holds secrets of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.model import files
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import WriteError
from slipway._internal.model.masking import MASK, mask
from slipway._internal.run import passphrase
from slipway._internal.run.passphrase import (
    ensure_passphrase,
    hide_salt,
    holds_secrets,
    missing_passphrase_error,
    remove_lost_salt,
    strip_salt,
)

PLAIN = "config:\n  # secure: is what Pulumi calls a secret\n  slipway:images: inline\n  slipway:protected: false\n"
SALT = "encryptionsalt: v1:Ru7L2TDYsug=:v1:3AuegCdXgxxT8VU6:NjMZVMIZsHXK//vsqUSMwGyPamCijQ==\n"
SECRET = f"{PLAIN}  build:token:\n    secure: v1:RZh6xtf6WlcFGlXl:g+wlKJUjt3bBIqF+8rPYXN2/Hwav\n"
CIPHER = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x:y"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*passphrase.VARIABLES, "CI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "infra").mkdir()
    return tmp_path


def state_of(*resources: dict[str, Any]) -> dict[str, Any]:
    provider = {"type": "passphrase", "state": {"salt": "v1:x"}}
    return {"version": 3, "checkpoint": {"latest": {"secrets_providers": provider, "resources": [*resources]}}}


def written(folder: Path, *resources: dict[str, Any]) -> Path:
    path = folder / "state" / "shop" / "dev.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(state_of(*resources)))
    return path


def test_a_clone_makes_its_own_passphrase_where_the_file_holds_no_secret(root: Path) -> None:
    (root / "infra" / "Pulumi.dev.yaml").write_text(PLAIN + SALT)
    (root / "infra" / "Pulumi.prod.yaml").write_text(SECRET + SALT)
    ensure_passphrase(root, "dev", None)
    made = passphrase.passphrase_environment(root)[passphrase.FILE_VARIABLE]
    text = Path(made).read_text()
    ensure_passphrase(root, "dev", None)
    assert Path(made).read_text() == text
    assert mask(f"it is {text}") == f"it is {MASK}"


def test_a_clone_cannot_guess_the_passphrase_of_secrets_and_says_which_and_how_it_is_had(root: Path) -> None:
    file = root / "infra" / "Pulumi.prod.yaml"
    file.write_text(SECRET + SALT)
    with pytest.raises(ConfigError) as caught:
        ensure_passphrase(root, "prod", None)
    assert str(file) in caught.value.message
    assert "lost for good" in caught.value.remedy
    for word in (".slipway/passphrase", *passphrase.VARIABLES):
        assert word in caught.value.remedy
    assert not passphrase.passphrase_file(root).exists()


def test_in_ci_the_remedy_is_a_variable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert "In CI, set PULUMI_CONFIG_PASSPHRASE" in missing_passphrase_error(root, "the secrets").remedy


def test_a_state_without_secrets_is_taken_on_with_a_new_passphrase(root: Path) -> None:
    path = written(root, {"type": "slipway:docker:Container", "inputs": {"image": "x"}})
    ensure_passphrase(root, "dev", path.parent)
    latest = json.loads(path.read_text())["checkpoint"]["latest"]
    assert "secrets_providers" not in latest and len(latest["resources"]) == 1
    assert passphrase.passphrase_file(root).is_file()


def test_what_a_build_was_given_does_not_tie_a_state_to_a_lost_passphrase(root: Path) -> None:
    image = {"type": "docker-build:index:Image", "inputs": {"secrets": {"ca": CIPHER}, "tags": ["x"]}}
    path = written(root, {**image, "outputs": {"secrets": {"ca": CIPHER}, "digest": "sha256:1"}})
    assert remove_lost_salt(path)
    resource = json.loads(path.read_text())["checkpoint"]["latest"]["resources"][0]
    assert resource == {**image, "inputs": {"tags": ["x"]}, "outputs": {"digest": "sha256:1"}}


def test_a_state_with_secrets_of_a_lost_passphrase_is_left_and_the_way_out_is_told(root: Path) -> None:
    path = written(root, {"type": "slipway:docker:Container", "inputs": {"secrets": {"TOKEN": CIPHER}}})
    before = path.read_text()
    with pytest.raises(ConfigError) as caught:
        ensure_passphrase(root, "dev", path.parent)
    assert str(path) in caught.value.message
    assert "label=slipway.workspace=shop" in caught.value.remedy and f"rm {path}" in caught.value.remedy
    assert path.read_text() == before
    ensure_passphrase(root, "other", path.parent)  # the others can be worked on


@pytest.mark.parametrize("text", ["", "{", "[]", '{"checkpoint": {"latest": null}}', '{"checkpoint": {"latest": {}}}'])
def test_a_state_that_is_none_or_has_no_secrets_is_left_alone(root: Path, text: str) -> None:
    path = root / "dev.json"
    path.write_text(text)
    assert remove_lost_salt(path)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [(PLAIN, False), (SECRET, True), ("config:\n  a:b: {secure: v1:x}\n", True), (PLAIN + SALT, False)],
)
def test_whether_a_file_holds_a_secret(text: str, expected: bool) -> None:
    assert holds_secrets("\n".join(line for line in text.splitlines() if not line.strip().startswith("#"))) is expected
    assert holds_secrets(text) is expected


def test_the_salt_stays_where_a_secret_needs_it() -> None:
    assert strip_salt(PLAIN + SALT) == PLAIN
    assert strip_salt(SECRET + SALT) == SECRET + SALT


def test_what_pulumi_writes_into_the_file_does_not_stay(root: Path) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(PLAIN)
    with hide_salt(file):
        file.write_text(PLAIN.replace("false", '"false"') + SALT)
    assert file.read_text() == PLAIN


def test_a_salt_that_was_committed_is_not_shown_to_pulumi(root: Path) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(PLAIN + SALT)
    with hide_salt(file):
        assert file.read_text() == PLAIN
    assert file.read_text() == PLAIN


def test_what_somebody_else_wrote_meanwhile_stays(root: Path) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(PLAIN)
    with hide_salt(file):
        file.write_text(f"{PLAIN}  slipway:port: 8081\n{SALT}")
    assert file.read_text() == f"{PLAIN}  slipway:port: 8081\n"
    with hide_salt(file):
        file.write_text(SECRET + SALT)
    assert file.read_text() == SECRET + SALT


def test_a_file_that_is_not_there_is_not_made(root: Path) -> None:
    with hide_salt(root / "infra" / "Pulumi.dev.yaml"):
        pass
    assert not (root / "infra" / "Pulumi.dev.yaml").exists()


@pytest.mark.parametrize("left", [None, PLAIN.encode("utf-16"), b"config:\n  a:b: \xe4\n"])
def test_a_file_that_is_gone_or_unreadable_in_the_end_is_left_as_it_is(root: Path, left: bytes | None) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text("# nothing but a comment\n")
    with hide_salt(file):
        file.unlink() if left is None else file.write_bytes(left)
    assert (file.read_bytes() if file.exists() else None) == left


def test_a_comment_that_somebody_added_meanwhile_stays(root: Path) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(PLAIN)
    with hide_salt(file):
        file.write_text(f"# mine\n{PLAIN}{SALT}")
    assert file.read_text() == f"# mine\n{PLAIN}"


def test_line_ends_a_link_and_the_mode_stay(root: Path) -> None:
    file, real = root / "infra" / "Pulumi.dev.yaml", root / "real.yaml"
    real.write_bytes((PLAIN + SALT).replace("\n", "\r\n").encode())
    real.chmod(0o600)
    file.symlink_to(real)
    with hide_salt(file):
        file.write_text(PLAIN.replace("false", '"false"') + SALT)
    assert real.read_bytes() == PLAIN.replace("\n", "\r\n").encode()
    assert file.is_symlink() and real.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ['config:\n  a:b: {"secure": "v1:x"}\n', "config: # secure: v1:eA==:eHg=\n"])
def test_a_secret_in_other_spellings_keeps_its_salt(text: str) -> None:
    assert strip_salt(text + SALT) == text + SALT


def test_a_folder_that_takes_no_file_fails_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "infra" / "Pulumi.dev.yaml"
    file.write_text(PLAIN + SALT)

    def refuse(path: Path, _text: str, **_options: int) -> None:
        raise WriteError(f"{path} cannot be written")

    monkeypatch.setattr(passphrase, "write_atomically", refuse)
    monkeypatch.setattr(files, "write_failures", [])
    with hide_salt(file):
        pass
    assert len(files.write_failures) == 1


def test_a_state_that_somebody_else_deploys_at_this_moment_is_left_alone(root: Path) -> None:
    path = written(root / ".pulumi", {"type": "slipway:docker:Container", "inputs": {"image": "x"}})
    before = path.read_text()
    lock = path.parents[2] / "locks" / "organization" / "shop" / "dev" / "1.json"
    lock.parent.mkdir(parents=True)
    lock.touch()
    ensure_passphrase(root, "other", path.parent)
    assert path.read_text() == before
