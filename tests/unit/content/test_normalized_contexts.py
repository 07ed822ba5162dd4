"""A context whose modes are not git's is built from a copy that has them, and is of the same content digest."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from slipway._internal.content import normalized_contexts
from slipway._internal.content.digest import BuildInputs, content_digest
from slipway._internal.content.normalized_contexts import normalize_inputs
from slipway._internal.model.errors import SlipwayError

UMASKS = {0o002: (0o664, 0o775), 0o022: (0o644, 0o755), 0o077: (0o600, 0o700)}


def checkout(root: Path, umask: int = 0o022) -> BuildInputs:
    """Make the context of a service and its lib as a clone with a umask has them."""
    api, lib = root / "services" / "api", root / "libs" / "common"
    before = os.umask(umask)
    try:
        (api / "app").mkdir(parents=True)
        (api / "empty").mkdir()
        lib.mkdir(parents=True)
        (api / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        (api / ".dockerignore").write_text("notes\n.dockerignore\n")
        (api / "notes").write_text("left out")
        (api / "app" / "main.py").write_text("one")
        (api / "app" / "link").symlink_to("main.py")
        (api / "app" / "run.sh").write_text("#!/bin/sh")
        (api / "app" / "run.sh").chmod(0o777 & ~umask)
        (lib / "bread.py").write_text("one")
    finally:
        os.umask(before)
    return BuildInputs(api / "Dockerfile", api, {"common": lib})


def modes(root: Path) -> dict[str, int]:
    return {
        path.relative_to(root).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in root.rglob("*")
        if not path.is_symlink()
    }


def test_clones_of_any_umask_have_one_digest(tmp_path: Path) -> None:
    digests = {content_digest(checkout(tmp_path / f"{umask:o}", umask)) for umask in UMASKS}
    assert len(digests) == 1


def test_a_checkout_with_normal_modes_is_built_as_it_is(tmp_path: Path) -> None:
    inputs = checkout(tmp_path)
    assert normalize_inputs(inputs, tmp_path / ".slipway") == inputs
    assert not (tmp_path / ".slipway").exists()


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_any_other_is_built_from_a_copy_with_normal_modes(tmp_path: Path, umask: int) -> None:
    inputs = checkout(tmp_path, umask)
    built = normalize_inputs(inputs, tmp_path / ".slipway")
    assert content_digest(built) == content_digest(inputs)
    assert modes(built.context) == {
        "Dockerfile": 0o644,
        "app": 0o755,
        "app/main.py": 0o644,
        "app/run.sh": 0o755,
        "empty": 0o755,
    }
    assert modes(built.contexts["common"]) == {"bread.py": 0o644}
    assert (built.context / "app" / "link").readlink() == Path("main.py")
    assert built.dockerfile == inputs.dockerfile
    # The copies are readable for everybody in themselves, so nobody else may come to them.
    assert stat.S_IMODE(built.context.parent.stat().st_mode) == 0o700


def test_what_is_special_is_copied_as_buildkit_is_sent_it(tmp_path: Path) -> None:
    inputs = checkout(tmp_path)
    app = inputs.context / "app"
    (app / "main.py").chmod(0o444)
    (app / "run.sh").chmod(0o4755)
    (app / "shared").mkdir()
    (app / "shared").chmod(0o1777)
    os.mkfifo(app / "pipe", 0o666)
    (app / os.fsdecode(b"\xff")).write_text("no UTF-8")
    built = normalize_inputs(inputs, tmp_path / ".slipway")
    assert content_digest(built) == content_digest(inputs)
    found = modes(built.context / "app")
    assert (found["main.py"], found["run.sh"], found["shared"], found["pipe"]) == (0o644, 0o755, 0o755, 0o644)


def test_a_copy_follows_its_context(tmp_path: Path) -> None:
    inputs = checkout(tmp_path, 0o077)
    scratch = tmp_path / ".slipway"
    app = inputs.context / "app"
    (app / "turns").write_text("a file")
    kept = normalize_inputs(inputs, scratch).context / "app" / "run.sh"
    before = kept.stat()
    (app / "main.py").write_text("two")
    (app / "link").unlink()
    (app / "link").mkdir()
    (app / "link" / "deep").write_text("x")
    (app / "turns").unlink()
    (app / "turns").symlink_to("main.py")
    shutil.rmtree(inputs.context / "empty")
    built = normalize_inputs(inputs, scratch)
    assert content_digest(built) == content_digest(inputs)
    assert (built.context / "app" / "main.py").read_text() == "two"
    assert kept.stat() == before


def test_a_change_of_the_same_size_and_time_is_copied(tmp_path: Path) -> None:
    inputs = checkout(tmp_path, 0o077)
    main = inputs.context / "app" / "main.py"
    os.utime(main, (1, 1))
    normalize_inputs(inputs, tmp_path / ".slipway")
    main.write_text("two")
    os.utime(main, (1, 1))
    built = normalize_inputs(inputs, tmp_path / ".slipway")
    assert (built.context / "app" / "main.py").read_text() == "two"


def test_a_copy_that_somebody_damaged_is_mended(tmp_path: Path) -> None:
    inputs = checkout(tmp_path, 0o077)
    built = normalize_inputs(inputs, tmp_path / ".slipway")
    (built.context / "app" / "main.py").write_text("half")
    (built.context / "more").write_text("not of the context")
    built.context.with_name(normalized_contexts.INDEX_FILE).write_text("[1]")
    assert content_digest(normalize_inputs(inputs, tmp_path / ".slipway")) == content_digest(inputs)


def test_a_copy_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = checkout(tmp_path, 0o077)

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(SlipwayError, match="No space left") as caught:
        normalize_inputs(inputs, tmp_path / ".slipway")
    assert "free some space" in caught.value.remedy
