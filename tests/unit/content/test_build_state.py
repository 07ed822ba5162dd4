"""What is remembered of files is never wrong: neither a fingerprint nor the word that nothing has changed."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway._internal.content import build_state, stat_cache
from slipway._internal.content.build_state import BuiltImage
from slipway._internal.content.digest import content_digests
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.model import bases_lock
from slipway._internal.model.workspace import load_workspace

TICK = 20 * 10**6  # nanoseconds: longer than any kernel's tick, short enough to wait for
DIGEST = f"sha256:{'d' * 64}"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of two services and a lib, on a machine whose clock ticks every few milliseconds."""
    monkeypatch.setattr(stat_cache, "SETTLE_NANOSECONDS", TICK)
    return made(tmp_path / "shop")


def made(root: Path) -> Path:
    for name, libs in (("api", '["common"]'), ("web", "[]")):
        service = root / "services" / name
        (service / "app" / "empty").mkdir(parents=True)
        (service / "service.toml").write_text(f'kind = "worker"\ntarget = ""\nlibs = {libs}\n')
        (service / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        (service / ".dockerignore").write_text("*.md\n")
        (service / "app" / "main.py").write_text(f"print('{name}')\n")
        (service / "app" / "util.py").write_text(f"print('{name}')\n")
        (service / "link").symlink_to("app")
    (root / "libs" / "common").mkdir(parents=True)
    (root / "libs" / "common" / "bread.py").write_text("loaf = 1\n")
    (root / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    (root / "bases").mkdir()
    bases_lock.save(root, bases_lock.BasesLock("hardened", {"python-run": f"r.example/python@{DIGEST}"}))
    return root


def fresh(root: Path) -> dict[str, str]:
    """Return the content digests, everything read."""
    workspace = load_workspace(root)
    lock = bases_lock.load(root).bases
    return content_digests({each.name: build_inputs_of(workspace, each, lock) for each in workspace.services})


def look(root: Path) -> dict[str, str]:
    """Return the content digests as a build gets them: from memory where it can; and remember them."""
    memory = build_state.open_stat_cache(root)
    workspace = load_workspace(root)
    lock = bases_lock.load(root).bases
    found = content_digests({each.name: build_inputs_of(workspace, each, lock) for each in workspace.services}, memory)
    build_state.save(
        root, memory, {name: BuiltImage(each, DIGEST, pushed=True) for name, each in found.items()}, complete=True
    )
    return found


def settle(root: Path) -> None:
    """Let time pass until everything there is believed, and look."""
    time.sleep(3 * TICK / 1e9)
    look(root)
    assert known_tags(root) is not None, "what has settled is believed"


def known_tags(root: Path) -> dict[str, str] | None:
    images = build_state.unchanged_images(root)
    return images and {name: image.tag for name, image in images.items()}


MAIN, UTIL, BREAD = "services/api/app/main.py", "services/api/app/util.py", "libs/common/bread.py"


def same_size_same_time(root: Path) -> None:
    file = root / MAIN
    status = file.stat()
    file.write_text(file.read_text().replace("api", "ipa"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def swapped(root: Path) -> None:
    """Two files of the same size and time change places; neither is written."""
    one, other, aside = root / MAIN, root / UTIL, root / "aside"
    one.write_text("print('ipa')\n")
    for file in (one, other):
        os.utime(file, ns=(0, 0))
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def folder_exchanged(root: Path) -> None:
    app = root / "services/api/app"
    shutil.copytree(app, root / "copy", symlinks=True)
    (root / "copy" / "main.py").write_text("print('ipa')\n")
    shutil.rmtree(app)
    (root / "copy").rename(app)


def relinked(root: Path) -> None:
    link = root / "services/api/link"
    link.unlink()
    link.symlink_to("ppa")


def replaced(path: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / path).write_text(text)


CHANGES: dict[str, Callable[[Path], object]] = {
    "the same size and time": same_size_same_time,
    "two files swapped": swapped,
    "a folder exchanged": folder_exchanged,
    "a link elsewhere": relinked,
    "an executable": lambda root: (root / MAIN).chmod(0o755),
    "a new file": replaced("services/web/app/new.py", ""),
    "a file less": lambda root: (root / UTIL).unlink(),
    "a folder less": lambda root: (root / "services/api/app/empty").rmdir(),
    "a lib": replaced(BREAD, "loaf = 2\n"),
    "an ignore file of its own": replaced("services/api/Dockerfile.dockerignore", "app\n"),
    "an ignore file for the lib": replaced("libs/common/.dockerignore", "bread.py\n"),
    "another ignore file": replaced("services/api/.dockerignore", "app\n"),
    "a Dockerfile": replaced("services/api/Dockerfile", "FROM scratch\nCOPY app /\n"),
    "an argument": replaced("services/web/service.toml", 'kind = "worker"\ntarget = ""\nargs = { X = "1" }\n'),
    "platforms": replaced(
        "workspace.toml", 'name = "shop"\nregistry = "127.0.0.1:5000"\nbuild.platforms = ["linux/arm64"]\n'
    ),
    "a service less": lambda root: shutil.rmtree(root / "services" / "web"),
    "a service more": lambda root: shutil.copytree(root / "services" / "web", root / "services" / "new", symlinks=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_change_is_seen(root: Path, change: Callable[[Path], object]) -> None:
    settle(root)
    before = known_tags(root)
    change(root)
    assert known_tags(root) is None
    after = look(root)
    assert after == fresh(root)
    assert after != before


def test_a_base_that_is_another_is_seen(root: Path) -> None:
    (root / "services/api/Dockerfile").write_text("ARG PYTHON_RUN\nFROM ${PYTHON_RUN}\nCOPY . /\n")
    settle(root)
    bases_lock.save(root, bases_lock.BasesLock("hardened", {"python-run": f"r.example/python@sha256:{'e' * 64}"}))
    assert known_tags(root) is None


def test_what_decides_no_image_changes_nothing(root: Path) -> None:
    settle(root)
    before = known_tags(root)
    (root / "services/api/.slipway-note.md").write_text("x")  # in the folder, so it is looked at again: to no effect
    assert look(root) == before
    (root / "README.md").write_text("x")
    (root / "deploy").mkdir()
    settle(root)
    assert known_tags(root) == before


def test_what_was_changed_a_moment_ago_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stat_cache, "SETTLE_NANOSECONDS", 3600 * 10**9)
    first = look(root)
    assert known_tags(root) is None
    assert look(root) == first
    assert known_tags(root) is None


def test_a_file_on_another_device_is_never_believed(root: Path) -> None:
    clock = stat_cache.FilesystemClock.read(root / ".slipway")
    (root / "x").touch()
    status = stat_cache.stat_of((root / "x").stat())
    old = (status[0], 0, 0, status[3], status[4])
    assert clock.is_settled(old)
    assert not clock.is_settled((*old[:4], old[4] + 1))


def test_a_dockerfile_that_is_a_link_is_read_each_time(root: Path) -> None:
    (root / "services/api/Dockerfile").rename(root / "services/api/main.Dockerfile")
    (root / "services/api/Dockerfile").symlink_to("main.Dockerfile")
    time.sleep(3 * TICK / 1e9)
    look(root)
    assert known_tags(root) is None


def test_a_build_of_some_services_forgets_nothing_and_promises_nothing(root: Path) -> None:
    settle(root)
    (root / BREAD).write_text("loaf = 2\n")
    time.sleep(3 * TICK / 1e9)
    memory = build_state.open_stat_cache(root)
    found = content_digests(
        {
            "web": build_inputs_of(
                load_workspace(root), load_workspace(root).service("web"), bases_lock.load(root).bases
            )
        },
        memory,
    )
    images = {**build_state.load(root).images, "web": BuiltImage(found["web"], DIGEST, pushed=True)}
    build_state.save(root, memory, images)
    assert set(build_state.load(root).images) == {"api", "web"}
    assert known_tags(root) is None, "api has another content, which nobody has looked at"


def test_what_is_forgotten_is_looked_for_again(root: Path) -> None:
    settle(root)
    build_state.forget_images(root)
    assert known_tags(root) is None
    assert not build_state.load(root).images
    assert build_state.load(root).files, "what is known of files stays"


def test_an_image_that_is_built_here_must_still_be_here(root: Path) -> None:
    layout = root / ".slipway" / "oci" / "api"
    layout.mkdir(parents=True)
    (layout / "index.json").touch()
    settle(root)
    memory = build_state.open_stat_cache(root)
    contents = look(root)
    images = {name: BuiltImage(each, DIGEST, layout=str(layout)) for name, each in contents.items()}
    content_digests({}, memory)
    build_state.save(root, memory, images)
    build_state.save(root, begun(root), images, complete=True)
    assert known_tags(root) == contents
    (layout / "index.json").unlink()
    assert known_tags(root) is None


def begun(root: Path) -> stat_cache.StatCache:
    memory = build_state.open_stat_cache(root)
    workspace = load_workspace(root)
    content_digests({each.name: build_inputs_of(workspace, each, {}) for each in workspace.services}, memory)
    return memory


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format": "0"}', "null", '{"whole": true}', "\x00", f'{{"format": "{build_state.FORMAT}"}}'],
)
def test_a_memory_that_is_damaged_or_of_another_version_is_none(root: Path, text: str) -> None:
    settle(root)
    build_state.path_of(root).write_text(text)
    assert known_tags(root) is None
    assert look(root) == fresh(root)


def test_a_file_of_the_memory_with_wrong_parts_is_none(root: Path) -> None:
    settle(root)
    whole = json.loads(build_state.path_of(root).read_text())
    for wrong in ({"files": {"x": [1]}}, {"files": 1}, {"images": {"api": {"no": 1}}}, {"images": []}):
        build_state.path_of(root).write_text(json.dumps({**whole, **wrong}))
        assert known_tags(root) is None


FILES = st.sampled_from([MAIN, UTIL, BREAD, "services/web/app/main.py", "services/web/.dockerignore"])
DEEDS = st.one_of(
    st.tuples(st.just("write"), FILES, st.sampled_from(["print('api')\n", "print('ipa')\n", "app\n", ""])),
    st.tuples(st.just("mode"), FILES, st.sampled_from([0o644, 0o755])),
    st.tuples(st.just("time"), FILES, st.sampled_from([0, 10**18])),
    st.tuples(st.just("rename"), FILES, FILES),
    st.tuples(st.just("remove"), FILES, st.none()),
    st.tuples(st.just("look"), st.none(), st.none()),
    st.tuples(st.just("wait"), st.none(), st.none()),
)


@given(st.lists(DEEDS, max_size=12))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_done_to_files_the_memory_is_right(root: Path, deeds: list[tuple[str, str, object]]) -> None:
    """Within one tick and after it, with times set back, with names changed: never a wrong digest or promise."""
    shutil.rmtree(root)
    made(root)
    for deed, name, more in deeds:
        do(root, deed, name, more)
        promised = known_tags(root)
        assert promised is None or promised == fresh(root)
    assert look(root) == fresh(root)


def do(root: Path, deed: str, name: str, more: object) -> None:
    if deed == "look":
        look(root)
        return
    if deed == "wait":
        time.sleep(2 * TICK / 1e9)
        return
    path = root / name
    if deed == "write":
        path.write_text(str(more))
    elif path.exists():
        if deed == "mode":
            path.chmod(int(str(more)))
        elif deed == "time":
            os.utime(path, ns=(int(str(more)), int(str(more))))
        elif deed == "rename":
            path.rename(root / str(more))
        elif deed == "remove":
            path.unlink()
