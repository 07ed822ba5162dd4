"""Whatever a Dockerfile takes from elsewhere is pinned, or refused with its line and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.content import dockerfile, pinning
from slipway._internal.model.errors import ConfigError

PIN = "@sha256:" + "a" * 64
SUM = "sha256:" + "b" * 64
COMMIT = "c" * 40
URL = "https://example.org/tool.tar.gz"
GIT = "https://example.org/tool.git"


def check(folder: Path, text: str, target: str = "", **more: object) -> None:
    path = folder / "Dockerfile"
    path.write_text(text)
    pinning.check(dockerfile.read(path), target, **more)  # type: ignore[arg-type]


def refused(folder: Path, text: str, target: str = "", **more: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check(folder, text, target, **more)
    return caught.value


@pytest.mark.parametrize(
    "add",
    [
        f"ADD {URL} /x",
        f"ADD {URL.replace('https', 'HTTP')} /x",
        f"add --chmod=755 {URL} /x",
        f'ADD ["{URL}", "/x"]',
        f"ADD one two {URL} /x/",
        f"ADD --checksum=sha256:abc {URL} /x",
        f"ADD --checksum={COMMIT} {URL} /x",
        f"ADD --checksum=${{SUM}} {URL} /x",
        f'ADD "{URL}" /x',
        "ADD https://example.org/\\\ntool.tar.gz /x",
        f"ONBUILD ADD {URL} /x",
        f"ARG FROM_URL={URL}\nADD ${{FROM_URL}} /x",
        f"ARG FROM_URL={URL}\nADD $FROM_URL /x",
        "ENV HOST=https://example.org\nADD $HOST/tool /x",
        "ENV HOST https://example.org\nADD ${HOST}/tool /x",
        "ARG A=ht\nARG B=${A}tps://example.org\nADD ${B}/tool /x",
        "ADD ${NOWHERE:-https://example.org/tool} /x",
        "ADD https://${NOWHERE}/tool /x",
        f"ADD {GIT} /x",
        f"ADD {GIT}#main /x",
        f"ADD {GIT}#v1:folder /x",
        f"ADD {GIT}#{COMMIT[:12]} /x",
        f"ADD {GIT}?branch=main /x",
        f"ADD --checksum={SUM} {GIT}#main /x",
        "ADD git@example.org:a/b.git /x",
        "ADD git@example.org:a/b#main /x",
        "ADD git://example.org/a /x",
        "ADD ssh://git@example.org/a /x",
    ],
)
def test_what_add_takes_from_elsewhere_has_to_be_pinned(tmp_path: Path, add: str) -> None:
    line = len(add.split("\n")) + 1 if "\\\n" not in add else 2
    found = refused(tmp_path, f"FROM scratch\n{add}\n")
    assert f"Dockerfile, line {line}: ADD " in found.message
    assert "ADD --checksum=" in found.remedy or "#COMMIT" in found.remedy


@pytest.mark.parametrize(
    "add",
    [
        f"ADD --checksum={SUM} {URL} /x",
        f"ARG SUM={SUM}\nADD --checksum=$SUM {URL} /x",
        f"ADD --checksum=sha512:{'b' * 128} {URL} /x",
        f"ADD {GIT}#{COMMIT} /x",
        f"ADD {GIT}#{COMMIT}:folder /x",
        f"ADD {GIT}?ref=main&commit={COMMIT} /x",
        f"ADD --checksum={COMMIT} {GIT}#v1 /x",
        f"ADD --checksum={'c' * 64} {GIT}#v1 /x",
        f"ARG REF={COMMIT}\nADD --keep-git-dir=true {GIT}#${{REF}} /x",
        f"ADD git@example.org:a/b.git#{COMMIT} /x",
        "ADD app.tar.gz /x",
        "ADD ./http://x /x",
        "ADD github.com/a/b /x",
        "ADD app/${NOWHERE} /x",
        "ARG FOLDER=app\nADD ${FOLDER} /x",
        "ADD <<EOF /x\nhttps://example.org\nEOF",
        f'RUN echo "ADD {URL} /x"',
        f"# ADD {URL} /x",
    ],
)
def test_what_is_pinned_or_local_is_taken(tmp_path: Path, add: str) -> None:
    check(tmp_path, f"FROM scratch\n{add}\n")
    assert "no checksum" in refused(tmp_path, f"FROM scratch\n{add}\nADD {URL} /y\n").message, "it was read"


def test_a_source_that_only_a_base_image_knows_is_refused(tmp_path: Path) -> None:
    found = refused(tmp_path, f"FROM x{PIN}\nADD ${{SOURCE}}/tool /x\n")
    assert "may be an address: $SOURCE" in found.message
    assert found.remedy.startswith("Declare it (ARG SOURCE=")


def test_arguments_count_as_they_are_given(tmp_path: Path) -> None:
    text = "ARG URL=app\nFROM scratch\nARG URL\nADD ${URL} /x\n"
    check(tmp_path, text)
    assert "line 4" in refused(tmp_path, text, args={"URL": URL}).message
    assert "line 3" in refused(tmp_path, f"ARG URL={URL}\nFROM scratch\nADD $URL /x\nARG URL\n").message
    assert "line 4" in refused(tmp_path, f"ARG URL={URL}\nFROM scratch\nARG URL\nADD $URL /x\n").message


def test_a_platforms_own_address_is_found(tmp_path: Path) -> None:
    text = f"FROM scratch\nARG TARGETARCH\nADD --checksum={SUM} https://example.org/$TARGETARCH /x\n"
    check(tmp_path, text, platforms=("linux/amd64", "linux/arm64"))
    assert (
        "https://example.org/arm64"
        in refused(tmp_path, text.replace(f"--checksum={SUM} ", ""), platforms=["linux/arm64"]).message
    )


def test_a_stage_has_the_variables_of_the_one_it_starts_from(tmp_path: Path) -> None:
    text = "FROM scratch AS a\nENV HOST=https://example.org\nARG LOST=app\nFROM a AS b\nADD $HOST/x /x\n"
    assert "line 5: ADD https://example.org/x" in refused(tmp_path, text).message
    assert "may be an address: $LOST" in refused(tmp_path, text.replace("$HOST/x", "$LOST")).message


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("FROM scratch AS other\n{add}\nFROM scratch AS run\n", False),
        ("FROM scratch AS other\n{add}\nFROM other AS run\n", True),
        ("FROM scratch AS other\n{add}\nFROM scratch AS run\nCOPY --from=other /x /x\n", True),
        ("FROM scratch AS other\n{add}\nFROM scratch AS run\nRUN --mount=from=0,target=/y true\n", True),
        ("ARG BASE=other\nFROM scratch AS other\n{add}\nFROM ${{BASE}} AS run\n", True),
    ],
)
def test_only_stages_that_the_image_needs_count(tmp_path: Path, text: str, counts: bool) -> None:
    text = text.format(add=f"ADD {URL} /x")
    if counts:
        refused(tmp_path, text, "run")
    else:
        check(tmp_path, text, "run")


@pytest.mark.parametrize(
    "text",
    [
        "# syntax=docker/dockerfile-upstream:1-labs\nFROM scratch\n",
        "#syntax = docker/dockerfile:1 --flag\nFROM scratch\n",
        "# escape=\\\n# syntax=docker/dockerfile:1.999-rc1\nFROM scratch\n",
        "#!/usr/bin/env docker\n# syntax=docker/dockerfile:2\nFROM scratch\n",
        "# syntax=example.com/docker/dockerfile:1\nFROM scratch\n",
    ],
)
def test_a_frontend_that_is_not_pinned_is_refused(tmp_path: Path, text: str) -> None:
    found = refused(tmp_path, text)
    assert "names a frontend that is not pinned" in found.message
    assert "Remove it" in found.remedy


def test_a_frontend_by_argument_is_held_to_the_same(tmp_path: Path) -> None:
    refused(tmp_path, "FROM scratch\n", args={"BUILDKIT_SYNTAX": "docker/dockerfile:1"})
    check(tmp_path, "FROM scratch\n", args={"BUILDKIT_SYNTAX": f"docker/dockerfile:1{PIN}"})
    check(tmp_path, f"# syntax=docker/dockerfile:1{PIN}\nFROM scratch\n")
    check(tmp_path, "FROM scratch\n# syntax=docker/dockerfile:1\n")


@pytest.mark.parametrize("version", ["1", "1-labs", "1.999", "1.999.1-labs"])
def test_an_official_frontend_needs_no_digest(tmp_path: Path, version: str) -> None:
    check(tmp_path, f"# syntax=docker/dockerfile:{version}\nFROM scratch\n")
    refused(tmp_path, f"# syntax=example.com/dockerfile:{version}\nFROM scratch\n")


@pytest.mark.parametrize(
    "instruction",
    [
        "COPY --from=tool:1 /a /a",
        "RUN --mount=type=bind,from=tool:1,target=/t true",
        "ONBUILD COPY --from=tool:1 /a /a",
        "ADD --from=tool:1 /a /a",
    ],
)
def test_images_that_are_not_pinned_are_refused_wherever_they_are_named(tmp_path: Path, instruction: str) -> None:
    assert "line 2" in refused(tmp_path, f"FROM scratch\n{instruction}\n").message


def test_a_word_that_nobody_can_read_is_an_error_with_its_line(tmp_path: Path) -> None:
    assert "line 2" in refused(tmp_path, "FROM scratch\nADD ${X /x\n").message


def test_a_word_of_braces_without_end_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    word = "${a:-" * 5000 + "x" + "}" * 5000
    assert "line 2" in refused(tmp_path, f"FROM scratch\nADD {word} /x\n").message


def test_a_line_of_very_many_words_is_read_at_once(tmp_path: Path) -> None:
    assert "no checksum" in refused(tmp_path, f"FROM scratch\nADD {'a ' * 200_000}{URL} /x\n").message


def test_brackets_without_end_are_no_list_of_sources_and_no_traceback(tmp_path: Path) -> None:
    line = f"FROM scratch\nADD {'[' * 100_000} /x\n"
    check(tmp_path, line)
    assert "line 3" in refused(tmp_path, f"{line}ADD {URL} /y\n").message, "it was read"
