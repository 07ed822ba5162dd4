"""Building from a Go module: what is written and run, and why it may not be possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway._internal.toolchain.gomodule import (
    build_command,
    build_environment,
    checksum_database,
    install_from_go,
    render_go_mod,
)
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.leftovers import go_folder
from slipway._internal.toolchain.tool_catalog import GoModule, Tool, find_tool

Program = Callable[..., Path]

RECIPE = GoModule(
    "1.26",
    ("acme.dev/tool v1.0.0",),
    {"acme.dev/tool/cmd": "tool"},
    "-X main.v=1",
    {"GOEXPERIMENT": "jsonv2"},
)
TOOL = Tool("tool", "1.0.0", ("tool",), go=RECIPE)


def test_go_mod_requires_what_the_data_says_and_replaces_nothing() -> None:
    assert render_go_mod("tool", RECIPE) == (
        "module slipway.tools/tool\n\ngo 1.26\n\nrequire (\n\tacme.dev/tool v1.0.0\n)\n"
    )


def test_the_build_sets_the_version_and_names_the_binary() -> None:
    assert build_command(RECIPE, "acme.dev/tool/cmd", Path("/new/tool")) == [
        *("go", "build", "-v", "-mod=mod", "-ldflags", "-s -w -X main.v=1"),
        *("-o", "/new/tool", "acme.dev/tool/cmd"),
    ]


def test_the_build_is_untouched_by_the_user_s_go_workspace_flags_and_target() -> None:
    env = build_environment(RECIPE)
    assert {"GOOS": None, "GOARCH": None, "GO111MODULE": "on", "GOWORK": "off"}.items() <= env.items()
    assert {"GOFLAGS": "-buildvcs=false -modcacherw", "GOEXPERIMENT": "jsonv2"}.items() <= env.items()


def test_go_s_caches_are_slipway_s_own_unless_the_user_names_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOCACHE", raising=False)
    monkeypatch.setenv("GOMODCACHE", "/theirs")
    env = build_environment(RECIPE)
    assert env["GOCACHE"] == str(go_folder() / "build") and env["GOMODCACHE"] == "/theirs"


def test_nothing_in_the_user_s_environment_switches_the_checksum_database_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setenv("GOFLAGS", "-insecure -mod=vendor")
    monkeypatch.setenv("GOSUMDB", "off")
    env = build_environment(RECIPE)
    assert env["GOSUMDB"] == "sum.golang.org"
    assert {env[name] for name in ("GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE")} == {"nothing.invalid"}
    assert env["GOFLAGS"] == "-buildvcs=false -modcacherw"


@pytest.mark.parametrize(
    ("named", "used"),
    [
        ("", "sum.golang.org"),
        ("off", "sum.golang.org"),
        ("sum.golang.org https://goproxy.example/sumdb", "sum.golang.org https://goproxy.example/sumdb"),
        ("sum.golang.google.cn", "sum.golang.google.cn"),
        ("sum.evil.example+0123abcd+AbCd", "sum.golang.org"),
        ("sum.golang.org+0123abcd+AbCd https://evil.example", "sum.golang.org"),
    ],
)
def test_another_way_to_the_checksum_database_is_taken_and_another_database_is_not(named: str, used: str) -> None:
    assert checksum_database(named) == used


def test_without_go_the_reason_says_which_would_do(tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailable, match=r"no go on PATH \(1\.26"):
        install_from_go(TOOL, tmp_path, print)


def test_an_older_go_is_refused_before_anything_is_built(program: Program, tmp_path: Path) -> None:
    program("go", "go1.25.9")
    with pytest.raises(ToolUnavailable, match=r"go1\.25\.9 is too old"):
        install_from_go(TOOL, tmp_path, print)


def test_a_failed_build_shows_its_last_lines(program: Program, tmp_path: Path) -> None:
    go = program("go")
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.26.1 && exit\necho no such module; exit 1\n', encoding="utf-8")
    with pytest.raises(ToolUnavailable, match="the build failed: no such module"):
        install_from_go(TOOL, tmp_path, print)


def test_modules_that_are_released_together_are_named_at_one_version() -> None:
    recipe = GoModule("1.26", ("acme.dev/all v1.2.0",), {}, replace={"v0.2.0": ("acme.dev/api", "acme.dev/client")})
    assert render_go_mod("all", recipe).endswith(
        "replace acme.dev/api => acme.dev/api v0.2.0\nreplace acme.dev/client => acme.dev/client v0.2.0\n"
    )


def test_files_that_a_pattern_names_become_one_and_none_is_an_error(program: Program, tmp_path: Path) -> None:
    module = tmp_path / "module"
    (module / "crd").mkdir(parents=True)
    for name in ("b", "a"):
        (module / "crd" / f"{name}.yaml").write_text(f"kind: {name}", encoding="utf-8")
    go = program("go")
    says = f'case "$*" in "env GOVERSION") echo go1.26.1;; list*) echo {module};; esac'
    go.write_text(f"#!/bin/sh\n{says}\n", encoding="utf-8")
    (tmp_path / "new").mkdir()
    recipe = GoModule("1.26", ("acme.dev/crd v1.0.0",), {}, extra={"all.yaml": "acme.dev/crd crd/*.yaml"})
    install_from_go(Tool("crd", "1.0.0", ("all.yaml",), go=recipe), tmp_path / "new", print)
    assert (tmp_path / "new" / "all.yaml").read_text(encoding="utf-8") == "kind: a\n---\nkind: b"
    missing = GoModule("1.26", ("acme.dev/crd v1.0.0",), {}, extra={"all.yaml": "acme.dev/crd other/*.yaml"})
    with pytest.raises(ToolUnavailable, match=r"holds no other"):
        install_from_go(Tool("crd", "1.0.0", ("all.yaml",), go=missing), tmp_path / "new", print)


def test_a_program_of_its_own_is_built_with_the_files_of_a_module_that_it_embeds(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "module" / "cmd").mkdir(parents=True)
    (tmp_path / "module" / "cmd" / "schema.json").write_text("{}", encoding="utf-8")
    go, built = program("go"), tmp_path / "built"
    says = f'"env GOVERSION") echo go1.26.1;; list*) echo {tmp_path / "module"};;'
    built_from = f"build*) /bin/cat main.go schema.json >{built}; echo $* >>{built};;"
    go.write_text(f'#!/bin/sh\ncase "$*" in {says} {built_from} esac\n', encoding="utf-8")
    recipe = GoModule(
        "1.26",
        ("acme.dev/all v1.0.0",),
        {".": "tool"},
        program="package main\n",
        embed={"schema.json": "acme.dev/all cmd/schema.json"},
    )
    install_from_go(Tool("tool", "1.0.0", ("tool",), go=recipe), tmp_path, print)
    command = " ".join(build_command(recipe, ".", tmp_path / "tool")[1:])
    assert built.read_text(encoding="utf-8") == f"package main\n{{}}{command}\n"


def test_the_tags_that_a_file_of_a_module_names_are_the_build_s(program: Program, tmp_path: Path) -> None:
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "tags").write_text("one two\n", encoding="utf-8")
    go, built = program("go"), tmp_path / "built"
    says = f'"env GOVERSION") echo go1.26.1;; list*) echo {tmp_path / "module"};;'
    go.write_text(f'#!/bin/sh\ncase "$*" in {says} build*) echo $GOFLAGS >{built};; esac\n', encoding="utf-8")
    recipe = GoModule("1.26", ("acme.dev/all v1.0.0",), {".": "tool"}, tags="acme.dev/all tags")
    install_from_go(Tool("tool", "1.0.0", ("tool",), go=recipe), tmp_path, print)
    assert built.read_text(encoding="utf-8") == "-buildvcs=false -modcacherw -tags=one,two\n"


def test_a_program_beside_tools_toml_is_built_for_other_machines_too(program: Program, tmp_path: Path) -> None:
    go, into = program("go"), tmp_path / "new"
    into.mkdir()
    build = 'echo "$GOOS/$GOARCH" >"$7"; /bin/cat main.go >>"$7"'
    go.write_text(f"#!/bin/sh\ncase $1 in env) echo go1.26.1;; build) {build};; esac\n", encoding="utf-8")
    install_from_go(find_tool("job-runner"), into, print)
    assert sorted(path.name for path in into.iterdir()) == ["job-runner-amd64", "job-runner-arm64"]
    text = (into / "job-runner-arm64").read_text()
    assert text.startswith("linux/arm64\n") and "package main" in text
