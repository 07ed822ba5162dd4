"""What `invoke dev` makes of a change, as far as no engine is needed."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from slipway._internal.content.digest import BuildInputs, content_manifest
from slipway._internal.content.sync import SyncFolder, affected_services, choose_action, make_archive, matches_image
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.workspace import Workspace

APP, LIB = SyncFolder.parse("app"), SyncFolder.parse("common:common")
BUILT = {"dockerfile": "1", "file app": "2", "file app/main.py": "3", "context common: common/logs.py": "4"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "nothing"),
        ({"file app/main.py": "other"}, "sync"),
        ({"file app/new/deep.py": "added"}, "sync"),
        ({"context common: common/logs.py": "other"}, "sync"),
        ({"file application.py": "added"}, "build"),
        ({"dockerfile": "other"}, "build"),
        ({"file app/main.py": "other", "file requirements.txt": "added"}, "build"),
        ({"context other: common/logs.py": "added"}, "build"),
    ],
)
def test_what_a_change_means_where_sources_may_be_copied(changed: dict[str, str], expected: str) -> None:
    assert choose_action(BUILT, BUILT, {**BUILT, **changed}, [APP, LIB]) == expected


def test_a_file_that_goes_may_be_copied_away_too() -> None:
    assert choose_action(BUILT, BUILT, {key: BUILT[key] for key in BUILT if key != "file app/main.py"}, [APP]) == "sync"


def test_without_sync_or_a_known_image_every_change_is_built() -> None:
    wanted = {**BUILT, "file app/main.py": "other"}
    assert choose_action(BUILT, BUILT, wanted, []) == "build"
    assert choose_action(None, None, BUILT, [APP]) == "build"


def test_what_counts_is_the_image_below_all_copies_made_since() -> None:
    copied = {**BUILT, "file app/main.py": "copied"}
    assert choose_action(BUILT, copied, BUILT, [APP]) == "sync"
    assert choose_action(BUILT, copied, copied, [APP]) == "nothing"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "workspace.toml").write_text('name = "demo"\nregistry = "127.0.0.1:5000"\n')
    for name, libs in (("api", '["common"]'), ("worker", '["common"]'), ("web", "[]")):
        folder = tmp_path / "services" / name
        folder.mkdir(parents=True)
        (folder / "service.toml").write_text(f'kind = "x"\nlibs = {libs}\n')
        (folder / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "libs" / "common").mkdir(parents=True)
    return workspaces.load_workspace(tmp_path)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["services/web/app/page.js"], {"web"}),
        (["libs/common/common/logs.py"], {"api", "worker"}),
        (["libs/other/x.py"], set()),
        (["services/gone/x.py"], set()),
        (["services/web/x", "services/api/x"], {"web", "api"}),
        (["services/web/x", "workspace.toml"], {"web", "api", "worker"}),
        (["services"], {"web", "api", "worker"}),
    ],
)
def test_which_services_a_path_reaches(workspace: Workspace, paths: list[str], expected: set[str]) -> None:
    assert affected_services(workspace, [workspace.root / path for path in paths]) == expected


@pytest.fixture
def inputs(tmp_path: Path) -> BuildInputs:
    app = tmp_path / "app"
    (app / "deep").mkdir(parents=True)
    (app / "main.py").write_text("main")
    (app / "deep" / "run.sh").write_text("run")
    (app / "deep" / "run.sh").chmod(0o755)
    (app / "secret.env").write_text("not sent")
    (app / "link").symlink_to("main.py")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY app app\n")
    (tmp_path / ".dockerignore").write_text("**/*.env\n")
    return BuildInputs(tmp_path / "Dockerfile", tmp_path)


def packed(inputs: BuildInputs) -> bytes:
    """Return the folder as the engine would pack it from an image: with its own name before each path."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=buffer, mode="w") as new,
        tarfile.open(fileobj=io.BytesIO(make_archive(inputs, APP))) as old,
    ):
        for each in old:
            each.name = f"app/{each.name}"
            new.addfile(each, old.extractfile(each) if each.isfile() else None)
    return buffer.getvalue()


def test_an_archive_holds_what_a_build_would_be_sent_and_everybody_may_read_it(inputs: BuildInputs) -> None:
    with tarfile.open(fileobj=io.BytesIO(make_archive(inputs, APP))) as tar:
        modes = {each.name: each.mode for each in tar}
        assert modes == {"deep": 0o755, "deep/run.sh": 0o755, "link": modes["link"], "main.py": 0o644}
        assert tar.getmember("link").linkname == "main.py"


def test_an_image_with_the_same_files_takes_copies(inputs: BuildInputs) -> None:
    image, image_layers = content_manifest(inputs), packed(inputs)
    (inputs.context / "app" / "main.py").write_text("changed since")
    (inputs.context / "app" / "new.py").write_text("new since")
    assert matches_image(image_layers, inputs, APP, image, content_manifest(inputs))


def test_an_image_in_which_a_build_made_or_changed_files_takes_none(inputs: BuildInputs) -> None:
    image = content_manifest(inputs)
    (inputs.context / "app" / "made.py").write_text("made by the build")
    more = packed(inputs)
    (inputs.context / "app" / "made.py").unlink()
    assert not matches_image(more, inputs, APP, image, content_manifest(inputs))
    text = inputs.context / "app" / "main.py"
    text.write_text("minified")
    other = packed(inputs)
    text.write_text("main")
    assert not matches_image(other, inputs, APP, image, content_manifest(inputs))
    assert not matches_image(bytes(1024), inputs, APP, image, content_manifest(inputs))
