"""A Dockerfile is understood as BuildKit understands it, as far as a build has to know it beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.content import dockerfile, healthcheck, pinning
from slipway._internal.model.errors import ConfigError

PIN = "@sha256:" + "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, text: str | bytes) -> dockerfile.Dockerfile:
    path = folder / "Dockerfile"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return dockerfile.read(path)


def images(folder: Path, text: str, target: str = "", **more: object) -> list[str]:
    return list(dockerfile.pulled_images(read(folder, text), target, **more))  # type: ignore[arg-type]


def test_global_arguments_and_stages_are_found(folder: Path) -> None:
    found = read(
        folder,
        f"""# syntax=docker/dockerfile:1
# a comment
ARG PYTHON_BUILD=python:3.13{PIN}
ARG A=1 B="two words" C
FROM ${{PYTHON_BUILD}} AS build
ARG INNER=x
RUN true
from --platform=$BUILDPLATFORM build as Test
FROM scratch
""",
    )
    assert found.syntax == "docker/dockerfile:1"
    assert dict(found.arguments) == {
        "PYTHON_BUILD": f"python:3.13{PIN}",
        "A": "1",
        "B": '"two words"',
        "C": None,
    }
    assert [stage.name for stage in found.stages] == ["build", "Test", ""]
    assert found.stage("test").number == 1
    assert found.stage("").number == 2


def test_continued_lines_comments_and_blank_lines_belong_together(folder: Path) -> None:
    text = f"""FROM \\
  # a comment within

  a{PIN} \\
  AS one
RUN echo \\
  FROM b
"""
    found = read(folder, text)
    assert [(stage.name, stage.base.text) for stage in found.stages] == [("one", f"a{PIN}")]


def test_the_escape_directive_changes_what_continues_a_line(folder: Path) -> None:
    found = read(folder, f"# escape=`\nFROM `\n  a{PIN}\nRUN dir C:\\\nFROM scratch AS last\n")
    assert [stage.base.text for stage in found.stages] == [f"a{PIN}", "scratch"]
    with pytest.raises(ConfigError, match="escape"):
        read(folder, "# escape=x\nFROM scratch\n")


@pytest.mark.parametrize(
    "heredoc",
    [
        "RUN <<EOF\nFROM b\nEOF",
        "RUN <<-EOF\nFROM b\n\tEOF",
        "RUN <<'E O F'\nFROM b\nE O F",
        'RUN <<"EOF" cat\nFROM b\nEOF',
        "RUN cat <<A > x <<B\nFROM b\nA\nFROM c\nB",
        "COPY <<one <<two /to/\nFROM b\none\nFROM c\ntwo",
        "ONBUILD RUN <<EOF\nFROM b\nEOF",
        "RUN --mount=type=tmpfs,target=/x <<EOF\nFROM b\nEOF",
        "RUN 3<<EOF cat\nFROM b\nEOF",
        "RUN <<EOF\r\nFROM b\r\nEOF\r",
    ],
)
def test_what_stands_in_a_here_document_is_no_instruction(folder: Path, heredoc: str) -> None:
    found = read(folder, f"FROM scratch AS one\n{heredoc}\nFROM scratch AS two\n")
    assert [stage.name for stage in found.stages] == ["one", "two"]


@pytest.mark.parametrize(
    "line",
    [
        'RUN ["cat", "<<EOF"]',
        "RUN echo '<<EOF'",
        "RUN cat <<<EOF",
        "RUN echo $((1<<2))",
        "LABEL a=<<EOF",
        "RUN a << b",
    ],
)
def test_what_only_looks_like_a_here_document_is_none(folder: Path, line: str) -> None:
    assert len(read(folder, f"FROM scratch\n{line}\nFROM scratch\n").stages) == 2


def test_a_here_document_without_end_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="line 2: the here-document EOF has no end"):
        read(folder, "FROM scratch\nRUN <<EOF\nx\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch", []),
        ("FROM a", ["a"]),
        ("FROM a AS x\nFROM x", ["a"]),
        ("FROM a AS x\nFROM X", ["a"]),
        ("FROM a AS x\nFROM b", ["b"]),
        ("FROM a AS x\nFROM scratch\nCOPY --from=x / /", ["a"]),
        ("FROM a\nFROM scratch\nCOPY --from=0 / /", ["a"]),
        ("FROM scratch\nCOPY --from=b / /", ["b"]),
        ("FROM scratch\nCOPY --chown=1:1 --from=b / /", ["b"]),
        ("FROM scratch\nRUN --mount=type=bind,from=b,target=/x --network=none true", ["b"]),
        ("FROM scratch\nRUN --mount=type=cache,target=/x true", []),
        ("FROM scratch\nONBUILD COPY --from=b / /", ["b"]),
        ("ARG I=a\nFROM $I", ["a"]),
        ("ARG I=a\nFROM ${I}:1", ["a:1"]),
        ("ARG V=1\nARG I=a:$V\nFROM ${I}", ["a:1"]),
        ("ARG I\nFROM ${I:-b}", ["b"]),
        ("ARG I=x\nFROM ${I:+b}", ["b"]),
        ('ARG I="a"\nFROM "$I"', ["a"]),
        ("FROM x AS x", ["x"]),
        ("ARG D=a\nFROM ${I:-${D}}", ["a"]),
        ("ARG V=3.13-slim\nFROM a:${V%-*}", ["a:3.13"]),
    ],
)
def test_the_images_that_a_stage_pulls_are_found(folder: Path, text: str, expected: list[str]) -> None:
    assert images(folder, text) == expected


def test_only_stages_that_the_target_needs_are_looked_at(folder: Path) -> None:
    text = "FROM a AS one\nFROM b AS two\nFROM one AS three\n"
    assert images(folder, text, "one") == ["a"]
    assert images(folder, text, "two") == ["b"]
    assert images(folder, text, "three") == ["a"]


def test_a_given_argument_a_named_context_and_the_platform_choose(folder: Path) -> None:
    assert images(folder, "ARG I=a\nFROM ${I}", args={"I": "b"}) == ["b"]
    assert images(folder, "FROM scratch\nCOPY --from=common / /", contexts=["common"]) == []
    assert images(folder, "FROM python:3", contexts=["python:3"]) == []
    assert images(folder, "FROM a AS deps\nFROM deps", contexts=["deps"]) == []
    by_platform = "FROM a AS on-amd64\nFROM b AS on-arm64\nFROM on-${TARGETARCH}\n"
    assert images(folder, by_platform, platforms=["linux/amd64"]) == ["a"]
    assert images(folder, by_platform, platforms=["linux/amd64", "linux/arm64"]) == ["a", "b"]


def test_an_image_without_digest_is_refused_by_line_and_remedy(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"Dockerfile, line 2: FROM python:3\.13 is not pinned") as caught:
        pinning.check(read(folder, "ARG X\nFROM python:3.13\n"))
    assert "@sha256" in caught.value.remedy
    with pytest.raises(ConfigError, match=r"line 2: COPY --from golang:1 is not pinned"):
        pinning.check(read(folder, "FROM scratch\nCOPY --from=golang:1 / /\n"))
    pinning.check(read(folder, f"FROM python:3.13{PIN}\nCOPY --from=golang{PIN} / /\n"))


def test_an_unknown_stage_is_refused_naming_the_known_ones(folder: Path) -> None:
    with pytest.raises(ConfigError, match="has no stage runn") as caught:
        read(folder, "FROM scratch AS build\nFROM scratch AS run\n").stage("runn")
    assert caught.value.remedy == "Its stages: build, run."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM"),
        ("# only a comment\n", "no FROM"),
        ("RUN true\nFROM scratch\n", "line 1: RUN before the first FROM"),
        ("FROM a b\n", "line 1: FROM needs"),
        ("FROM\n", "line 1: FROM needs"),
        ("FROM scratch\nCOPY --from=9 / /\n", ""),
    ],
)
def test_what_buildkit_could_not_read_is_refused(folder: Path, text: str, message: str) -> None:
    if message:
        with pytest.raises(ConfigError, match=message):
            read(folder, text)
    else:
        with pytest.raises(ConfigError):
            images(folder, text)


def test_an_argument_without_value_is_refused_where_an_image_needs_it(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 2: FROM \$\{PYTHON_RUN\} is empty"):
        images(folder, "ARG PYTHON_RUN\nFROM ${PYTHON_RUN}\n")


def test_a_missing_dockerfile_is_refused_and_a_lower_case_one_found(folder: Path) -> None:
    with pytest.raises(ConfigError, match="Dockerfile is missing"):
        dockerfile.read(folder / "Dockerfile")
    (folder / "dockerfile").write_text("FROM scratch\n")
    assert dockerfile.read(folder / "Dockerfile").text == b"FROM scratch\n"


def test_a_dockerfile_that_links_out_of_its_folder_is_refused_as_buildkit_does(folder: Path) -> None:
    (folder / "shared").write_text("FROM scratch\n")
    inside = folder / "service"
    inside.mkdir()
    (inside / "Dockerfile").symlink_to("../shared")
    with pytest.raises(ConfigError, match="is a link out of its folder"):
        dockerfile.read(inside / "Dockerfile")
    (inside / "real").write_text("FROM scratch\n")
    (inside / "Dockerfile").unlink()
    (inside / "Dockerfile").symlink_to("real")
    assert len(dockerfile.read(inside / "Dockerfile").stages) == 1


def test_bytes_before_and_within_do_no_harm(folder: Path) -> None:
    assert read(folder, b"\xef\xbb\xbfFROM scratch\r\nLABEL a=\xff\r\n").stages[0].base.text == "scratch"


def test_a_stages_cache_mounts_are_known_by_their_ids_or_targets(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch AS a\nRUN --mount=type=cache,id=pip,target=/c --mount=type=secret,id=ca true\n"
        "RUN --mount=type=cache,dst=/d true\nFROM a AS b\nRUN --mount=type=tmpfs,target=/t true\n"
    )
    assert [stage.caches for stage in dockerfile.read(tmp_path / "Dockerfile").stages] == [("pip", "/d"), ()]


@pytest.mark.parametrize(
    ("mount", "read"),
    [
        ("type=secret,id=ca,target=/etc/ca.crt", {"ca"}),
        ("type=secret,target=/run/npmrc", {"npmrc"}),
        ("type=secret,id=a/b", {"a/b"}),
        ("type=secret,id=${WHICH}", {"ca", "npmrc", "a/b"}),
        ("type=cache,id=ca,target=/c", set()),
    ],
)
def test_the_secrets_that_a_build_reads_are_known(tmp_path: Path, mount: str, read: set[str]) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nRUN --mount={mount} true\nFROM scratch AS run\n")
    found = dockerfile.read(tmp_path / "Dockerfile")
    assert {name for name in ("ca", "npmrc", "a/b") if found.mounts_secret(name)} == read


def test_a_health_check_is_found_with_its_times(folder: Path) -> None:
    text = """FROM scratch AS run
HEALTHCHECK CMD true
HEALTHCHECK --interval=5s --timeout=1m30s --start-period=1.5s --start-interval=500ms --retries=4 \\
    CMD ["/bin/app", "--ok"]
"""
    found = read(folder, text).health("run")
    assert found == healthcheck.Healthcheck(("/bin/app", "--ok"), 5, 90, 1.5, 0.5, 4)


def test_a_health_check_has_dockers_defaults_and_may_be_the_shells(folder: Path) -> None:
    found = read(folder, "FROM scratch\nHEALTHCHECK --interval=0 cmd curl -f localhost || exit 1\n").health("")
    assert found == healthcheck.Healthcheck(("/bin/sh", "-c", "curl -f localhost || exit 1"), 30, 30, 0, None, 3)


def test_a_health_check_comes_from_the_stage_below_unless_it_is_taken_away(folder: Path) -> None:
    text = """FROM scratch AS base
HEALTHCHECK CMD ["ok"]
FROM Base AS run
ENV A=1
FROM base AS bare
HEALTHCHECK NONE
FROM bare AS last
FROM alpine AS other
"""
    found = read(folder, text)
    healths = {stage.name: found.health(stage.name) for stage in found.stages}
    assert {name: bool(health) for name, health in healths.items()} == {
        "base": True,
        "run": True,
        "bare": False,
        "last": False,
        "other": False,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("HEALTHCHECK", "line 2: HEALTHCHECK needs"),
        ("HEALTHCHECK curl localhost", "line 2: HEALTHCHECK needs"),
        ("HEALTHCHECK --interval=5 CMD x", "'5' is not a duration"),
        ("HEALTHCHECK --interval=5sx CMD x", "'5sx' is not a duration"),
        ("HEALTHCHECK --retries=many CMD x", "line 2: HEALTHCHECK: "),
        ("HEALTHCHECK --every=5s CMD x", "no flag --every"),
    ],
)
def test_a_health_check_that_buildkit_would_not_take_is_named(folder: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(folder, f"FROM scratch\n{line}\n")
