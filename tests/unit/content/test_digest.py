"""The content digest says the same for the same image, on any machine, and something else for any other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.content import digest
from slipway._internal.content.digest import (
    BuildInputs,
    content_digest,
    content_digests,
    content_manifest,
    describe_changes,
)
from slipway._internal.model.errors import ConfigError

A, B = "a" * 64, "b" * 64


@pytest.fixture
def inputs(tmp_path: Path) -> BuildInputs:
    service, lib = tmp_path / "services" / "api", tmp_path / "libs" / "common"
    for folder in (service, lib):
        folder.mkdir(parents=True)
    (service / "Dockerfile").write_text("ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\nCOPY . /app\n")
    (service / ".dockerignore").write_text("*.tmp\n")
    (service / "main.py").write_text("print()")
    (lib / "common.py").write_text("x = 1")
    return BuildInputs(
        dockerfile=service / "Dockerfile",
        context=service,
        contexts={"common": lib},
        target="run",
        platforms=("linux/amd64", "linux/arm64"),
        args={"DEBUG": "0", "LANG": "C"},
        bases={"PYTHON_RUN": f"registry.example/demo/base-python-run@sha256:{A}"},
    )


def test_the_digest_is_a_sha256_in_hexadecimal(inputs: BuildInputs) -> None:
    assert len(content_digest(inputs)) == 64
    assert int(content_digest(inputs), 16) > 0


def test_it_is_pinned_so_that_no_update_changes_it_unseen(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (tmp_path / "Dockerfile").chmod(0o644)
    (tmp_path / "link").symlink_to("Dockerfile")
    one = BuildInputs(tmp_path / "Dockerfile", tmp_path, platforms=("linux/amd64",), args={"A": "1"})
    assert content_digest(one) == "eae432808c6f544ae4b11ab01a93cc0bfab7d4465801daa752467cf7f7b0b60a"


def test_place_time_order_and_registry_do_not_count(inputs: BuildInputs, tmp_path: Path) -> None:
    before = content_digest(inputs)
    elsewhere = tmp_path / "another" / "checkout"
    shutil.copytree(tmp_path / "services", elsewhere / "services", copy_function=shutil.copy)
    shutil.copytree(tmp_path / "libs", elsewhere / "libs", copy_function=shutil.copy)
    os.utime(elsewhere / "services/api/main.py", (1, 1))
    moved = BuildInputs(
        dockerfile=elsewhere / "services/api/Dockerfile",
        context=elsewhere / "services/api",
        contexts={"common": elsewhere / "libs/common"},
        target="RUN",
        platforms=("linux/arm64", "linux/amd64"),
        args={"LANG": "C", "DEBUG": "0", "SOURCE_DATE_EPOCH": "7"},
        bases={"PYTHON_RUN": f"other.example:5000/x/python:3.13@sha256:{A}"},
    )
    assert content_digest(moved) == before


def test_everything_that_decides_an_image_counts(inputs: BuildInputs, tmp_path: Path) -> None:
    lib = inputs.contexts["common"]
    seen = {content_digest(inputs)}
    for other in (
        replace(inputs, platforms=("linux/amd64",)),
        replace(inputs, args={"DEBUG": "1", "LANG": "C"}),
        replace(inputs, args={"DEBUG": "0"}),
        replace(inputs, args={"DEBUG": "0", "LANG": "C", "X": ""}),
        replace(inputs, bases={"PYTHON_RUN": f"r/x@sha256:{B}"}),
        replace(inputs, contexts={}),
        replace(inputs, contexts={"shared": lib}),
        replace(inputs, contexts={"common": lib, "more": lib}),
        replace(inputs, target=""),
    ):
        seen.add(content_digest(other))
    for file in (inputs.dockerfile, inputs.context / "main.py", lib / "common.py"):
        file.write_text(file.read_text() + "\n")
        seen.add(content_digest(inputs))
    assert len(seen) == 13


def test_a_file_that_is_ignored_does_not_count_but_the_rules_effect_does(inputs: BuildInputs) -> None:
    before = content_digest(inputs)
    (inputs.context / "x.tmp").write_text("1")
    assert content_digest(inputs) == before
    (inputs.contexts["common"] / "x.tmp").write_text("1")
    assert content_digest(inputs) != before
    (inputs.contexts["common"] / ".dockerignore").write_text("*.tmp\n.dockerignore\n")
    assert content_digest(inputs) == before


def test_names_and_bytes_cannot_be_shifted_into_one_another(tmp_path: Path) -> None:
    def of(name: str, **more: object) -> str:
        root = tmp_path / name
        root.mkdir()
        (root / ".dockerignore").write_text("*")
        dockerfile = root / "Dockerfile"
        dockerfile.write_text("FROM scratch\n")
        return content_digest(BuildInputs(dockerfile, root, **more))  # type: ignore[arg-type]

    found = [
        of("1", args={"A": "B"}),
        of("2", args={"AB": ""}),
        of("3", args={"A": "", "B": ""}),
        of("4", platforms=("linux/amd64", "linux/arm64")),
        of("5", platforms=("linux/amd64linux/arm64",)),
    ]
    assert len(set(found)) == len(found)


def test_the_digest_is_the_same_in_any_locale(inputs: BuildInputs) -> None:
    for name in ("é", "z", "Z", "a b", "\udcff"):
        (inputs.context / name).touch()
    script = (
        "import sys; from pathlib import Path; from slipway._internal.content.digest import *;"
        "root = Path(sys.argv[1]); print(content_digest(BuildInputs(root / 'Dockerfile', root,"
        "bases={'PYTHON_RUN': 'x@sha256:' + 'a' * 64})))"
    )
    command = [sys.executable, "-X", "utf8=0", "-c", script, str(inputs.context)]
    found = set()
    for locale in ("C", "C.UTF-8", "POSIX"):
        env = {**os.environ, "LC_ALL": locale, "PYTHONHASHSEED": "random", "PYTHONCOERCECLOCALE": "0"}
        env["PYTHONPATH"] = os.pathsep.join(sys.path)
        found.add(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


def test_a_base_without_digest_is_refused_with_the_remedy(inputs: BuildInputs) -> None:
    with pytest.raises(ConfigError, match=r"PYTHON_RUN.*python:3\.13.*not pinned") as caught:
        content_digest(replace(inputs, bases={"PYTHON_RUN": "python:3.13"}))
    assert "@sha256" in caught.value.remedy


@pytest.mark.parametrize("ref", ["", "x@sha256:abc", f"x@sha256:{A}0", f"x@sha512:{A}", f"x@sha256:{A.upper()}"])
def test_a_digest_has_to_be_a_whole_sha256(ref: str) -> None:
    with pytest.raises(ConfigError):
        digest.pinned_digest("X", ref)


def test_a_missing_context_is_refused(inputs: BuildInputs, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"libs/nothing is not a folder"):
        content_digest(replace(inputs, contexts={"common": tmp_path / "libs" / "nothing"}))
    with pytest.raises(ConfigError, match="cannot name"):
        content_digest(replace(inputs, contexts={"Common Lib": inputs.contexts["common"]}))


def test_many_digests_at_once_are_the_same_as_one_by_one(inputs: BuildInputs) -> None:
    many = {"a": inputs, "b": replace(inputs, args={}), "c": replace(inputs, contexts={})}
    assert content_digests(many) == {name: content_digest(one) for name, one in many.items()}


def test_two_manifests_say_what_changed(inputs: BuildInputs) -> None:
    before = content_manifest(inputs)
    (inputs.context / "main.py").write_text("print(2)")
    (inputs.context / "new.py").touch()
    (inputs.contexts["common"] / "common.py").unlink()
    inputs.dockerfile.write_text("ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\n")
    after = content_manifest(
        replace(inputs, args={"DEBUG": "0", "X": "1"}, bases={"PYTHON_RUN": f"r@sha256:{B}"}, platforms=())
    )
    assert describe_changes(before, after, {"": "services/api", "common": "libs/common"}) == [
        "arg LANG removed",
        "arg X added",
        "base python-run changed",
        "libs/common/common.py removed",
        "Dockerfile changed",
        "services/api/Dockerfile changed",
        "services/api/main.py changed",
        "services/api/new.py added",
        "platforms changed",
    ]
    assert "context common: common.py removed" in describe_changes(before, after)
    assert describe_changes(before, before) == []


def test_no_value_of_an_argument_stands_in_a_manifest(inputs: BuildInputs) -> None:
    assert "a value" not in repr(content_manifest(replace(inputs, args={"X": "a value"})))


def test_three_thousand_files_take_well_under_half_a_second(tmp_path: Path) -> None:
    many = {}
    for number in range(100):
        root = tmp_path / f"s{number}"
        root.mkdir()
        (root / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        (root / ".dockerignore").write_text("**/__pycache__\n.venv\nnode_modules\n")
        for each in range(30):
            (root / f"m{each}.py").write_text(f"x = {each}\n" * 20)
        many[root.name] = BuildInputs(root / "Dockerfile", root)
    start = time.process_time()
    content_digests(many)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("stage", ["FROM node:24 AS test\n", "FROM scratch AS Test\nADD https://example.org/x /x\n"])
def test_what_the_gates_tests_take_from_elsewhere_has_to_be_pinned_too(inputs: BuildInputs, stage: str) -> None:
    inputs.dockerfile.write_text(f"ARG PYTHON_RUN\nFROM ${{PYTHON_RUN}} AS run\n{stage}")
    with pytest.raises(ConfigError, match=r"line \d: "):
        content_digest(inputs)
