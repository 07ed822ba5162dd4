"""What decides a base, and the commands that make one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TEMPLATE

from slipway._internal.commands import base_images
from slipway._internal.content.dockerfile import read

FILES = {
    "distroless.sh": b"sh",
    "apt.conf": b"conf",
    "debian/Dockerfile": b"FROM scratch",
    "python/Dockerfile": b"FROM x AS build",
    "node/Dockerfile": b"FROM y AS build",
}
PLATFORMS = ("linux/amd64",)
HOST = """\
Docker bookworm http://mirror.corp/docker/
Debian bookworm http://mirror.corp/debian/
Debian bookworm-updates http://mirror.corp/debian/
Debian bookworm-security http://mirror.corp/security/
"""


def tag(name: str, **changed: bytes) -> str:
    files = {**FILES, **{path.replace("__", "/"): text for path, text in changed.items()}}
    return base_images.content_tag_of(base_images.BUILDABLE_BASES[name], files, PLATFORMS)


def test_a_base_has_another_tag_when_its_own_or_a_shared_file_changes() -> None:
    assert tag("python-run") != tag("python-run", python__Dockerfile=b"FROM z AS build")
    assert tag("python-run") != base_images.content_tag_of(
        base_images.BUILDABLE_BASES["python-run"], {**FILES, "distroless.sh": b"other"}, PLATFORMS
    )


def test_another_bases_files_leave_its_tag_alone() -> None:
    assert tag("python-run") == tag("python-run", node__Dockerfile=b"FROM z AS build")


def test_stages_and_platforms_of_one_dockerfile_have_tags_of_their_own() -> None:
    assert tag("python-run") != tag("python-build")
    assert tag("python-run") != base_images.content_tag_of(
        base_images.BUILDABLE_BASES["python-run"], FILES, ("linux/arm64",)
    )


def test_the_mirrors_of_bases_are_the_machines_own() -> None:
    assert base_images.parse_apt_sources(HOST) == (
        f"deb http://mirror.corp/debian/ {base_images.DEBIAN_SUITE} main",
        f"deb http://mirror.corp/debian/ {base_images.DEBIAN_SUITE}-updates main",
        f"deb http://mirror.corp/security/ {base_images.DEBIAN_SUITE}-security main",
    )


@pytest.mark.parametrize("listed", ["", "\n", "Ubuntu noble http://mirror.corp/ubuntu/\n"])
def test_a_machine_without_a_debian_mirror_leaves_the_choice_to_mmdebstrap(listed: str) -> None:
    assert base_images.parse_apt_sources(listed) == ()


def test_nothing_of_the_machine_stays_in_the_bootstrap() -> None:
    argv = base_images.mmdebstrap_argv(Path("out.tar"), ())
    assert any("etc/hostname" in word and "etc/resolv.conf" in word for word in argv)


def definition(**more: Any) -> dict[str, Any]:
    tags = {"python-run": "registry/demo/base-python-run:h-1"}
    given: dict[str, Any] = {"rootfs": Path("/boot"), "secrets": {}, **more}
    found = base_images.make_definition(tags, Path("/ws/bases"), PLATFORMS, **given)
    targets: dict[str, Any] = found["target"]
    return targets


def test_a_hardened_base_starts_from_the_bootstrap_of_the_same_bake() -> None:
    targets = definition()
    assert targets["python-run"]["contexts"] == {"debian": "target:debian"}
    assert targets["python-run"]["args"]["DEBIAN"] == "debian"
    assert targets["debian"]["context"] == "/boot"


def test_without_a_bootstrap_the_dockerfiles_own_debian_is_pulled() -> None:
    targets = definition(rootfs=None)
    assert set(targets) == {"python-run"}
    assert "DEBIAN" not in targets["python-run"]["args"]


def test_bases_are_given_the_ca_and_no_other_secret() -> None:
    targets = definition(secrets={"ca": Path("/s/ca"), "npmrc": Path("/s/npmrc")})
    assert targets["python-run"]["secret"] == ["id=ca,src=/s/ca"]


def test_fresh_bases_take_nothing_from_the_cache() -> None:
    assert definition(fresh=True)["python-run"]["no-cache"]


@pytest.mark.parametrize("base", base_images.BUILDABLE_BASES.values(), ids=lambda base: base.name)
def test_each_base_is_a_stage_of_a_dockerfile_that_is_there(base: base_images.BaseImage) -> None:
    dockerfile = read(TEMPLATE / "bases" / base.folder / "Dockerfile")
    assert dockerfile.stage(base.target)
    assert "@sha256:" in (dockerfile.arguments["DEBIAN"] or "")


def test_bake_may_read_the_bootstrap_which_lies_outside_the_workspace() -> None:
    argv = base_images.argv(Path("buildx"), Path("bake.json"), "slipway", ["nginx"], Path("/cache/boot"))
    assert "--allow=fs.read=/cache/boot" in argv
    assert argv[-1] == "nginx"
