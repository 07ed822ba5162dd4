"""Builds a tool from its Go module, in a go.mod of its own, written from data."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from slipway._internal.model.scratch import process_folder, temporary_folder
from slipway._internal.run.process import ProcessResult, run
from slipway._internal.toolchain.installed_tools import ToolUnavailable
from slipway._internal.toolchain.leftovers import folder_size, go_folder, remove_go_caches, using_go_caches
from slipway._internal.toolchain.paths import cache_path
from slipway._internal.toolchain.tool_catalog import TOOLS_FILE, GoModule, Tool

MAX_CACHE_BYTES = 12 * 10**9
"""Bytes of Go's caches; with more they begin anew. A Docker workspace's tools together take about ten gigabytes."""
BUILD_SECONDS = 3 * 60 * 60.0
"""Long enough for the largest, thirteen minutes of an idle machine's, on one that is busy with other things."""
UNCHECKED_VARIABLES = ("GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE")
CACHE_VARIABLES = {"GOCACHE": "build", "GOMODCACHE": "modules"}
"""Go's caches of Slipway's own, which `invoke prune --machine` may remove; a user's are taken where they are named."""
NO_MODULE = "nothing.invalid"
CHECKSUM_DATABASES = ("sum.golang.org", "sum.golang.google.cn")

OnLine = Callable[[str], None]


def install_from_go(tool: Tool, into: Path, on_line: OnLine) -> None:
    """Build the tool's binaries into a folder.

    The tool's own modules have the sums that tools.toml pins, and all others those of Go's checksum database, which
    nothing in the user's environment switches off.

    Raises:
        ToolUnavailable: Go is missing or too old, or the build failed (its last lines are in the text).
    """
    recipe = tool.go
    if recipe is None:
        raise ToolUnavailable("Go: no module is known")
    with using_go_caches(), temporary_folder(cache_path(), "go") as work:
        _write_module(work, tool.name, recipe)
        env = {**build_environment(recipe), "GOTMPDIR": str(process_folder(cache_path()))}
        _require_go(recipe, work, env)
        if recipe.tags:
            _copy_from_module(recipe.tags, work / "tags", work, env)
            tags = ",".join((work / "tags").read_text(encoding="utf-8").split())
            env["GOFLAGS"] = f"{env['GOFLAGS']} -tags={tags}"
        tell = _throttle(tool.name, on_line)
        for name, source_spec in recipe.embed.items():
            _copy_from_module(source_spec, work / name, work, env)
        for package, binary, target in _list_builds(recipe):
            argv = build_command(recipe, package, into / binary)
            _require_success(run(argv, cwd=work, env={**env, **target}, on_line=tell, timeout=BUILD_SECONDS))
        for name, source_spec in recipe.extra.items():
            _copy_from_module(source_spec, into / name, work, env)
    if folder_size(go_folder()) > MAX_CACHE_BYTES:
        remove_go_caches()


def _list_builds(recipe: GoModule) -> list[tuple[str, str, dict[str, str]]]:
    """Return each package, the binary that it becomes, and the variables that say for which machine."""
    own: list[tuple[str, str, dict[str, str]]] = [
        (package, binary, {}) for package, binary in recipe.packages.items() if not recipe.architectures
    ]
    others = [
        (package, f"{binary}-{arch}", {"GOOS": "linux", "GOARCH": arch})
        for package, binary in recipe.packages.items()
        for arch in recipe.architectures
    ]
    return [*own, *others]


def render_go_mod(name: str, recipe: GoModule) -> str:
    """Return the go.mod that builds one tool."""
    requires = "".join(f"\t{module}\n" for module in recipe.requires)
    replacements = "".join(
        f"replace {module} => {module} {version}\n" for version, modules in recipe.replace.items() for module in modules
    )
    return f"module slipway.tools/{name}\n\ngo {recipe.go}\n\nrequire (\n{requires})\n{replacements}"


def build_command(recipe: GoModule, package: str, binary: Path) -> list[str]:
    """Return the `go build` of one package; `-v` names each package as it compiles, which is the progress."""
    return [
        "go",
        "build",
        "-v",
        "-mod=mod",
        "-ldflags",
        f"-s -w {recipe.ldflags}".strip(),
        "-o",
        str(binary),
        package,
    ]


def build_environment(recipe: GoModule) -> dict[str, str | None]:
    """Return the build's variables: its own, and none of the user's workspace, flags or target; None takes one away.

    Go's checksum database vouches for every module: what would switch it off is set to what matches nothing (an empty
    value would not do: Go then takes the one that `go env -w` has kept).
    """
    others = {"GOOS": None, "GOARCH": None, "GOEXPERIMENT": None}
    return {
        **others,
        **dict.fromkeys(UNCHECKED_VARIABLES, NO_MODULE),
        "GOSUMDB": checksum_database(os.environ.get("GOSUMDB", "")),
        "GO111MODULE": "on",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false -modcacherw",
        **{name: os.environ.get(name) or str(go_folder() / own) for name, own in CACHE_VARIABLES.items()},
        **recipe.env,
    }


def checksum_database(named: str) -> str:
    """Return Go's checksum database as a user may name it: by another way, but no other, and with no other key."""
    return named if named.split(" ", maxsplit=1)[0] in CHECKSUM_DATABASES else CHECKSUM_DATABASES[0]


def _write_module(work: Path, name: str, recipe: GoModule) -> None:
    (work / "go.mod").write_text(render_go_mod(name, recipe), encoding="utf-8")
    if recipe.sum:
        (work / "go.sum").write_text("\n".join(recipe.sum) + "\n", encoding="utf-8")
    if recipe.source:
        shutil.copyfile(TOOLS_FILE.with_name(recipe.source), work / "main.go")
    if recipe.program:
        (work / "main.go").write_text(recipe.program, encoding="utf-8")


def _copy_from_module(source_spec: str, target: Path, work: Path, env: Mapping[str, str | None]) -> None:
    """Copy what `extra`, `embed` and `tags` name: a required module, and the path in it."""
    module, path = source_spec.split(" ", 1)
    _require_success(run(["go", "mod", "download", module], cwd=work, env=env, timeout=BUILD_SECONDS))
    source = _require_success(run(["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", module], cwd=work, env=env))
    _copy_module_file(Path(source.output.strip()), path, target)


def _copy_module_file(module: Path, pattern: str, target: Path) -> None:
    """Copy a file of a module; several that a pattern names become one stream of YAML documents."""
    files = sorted(module.glob(pattern))
    if not files:
        raise ToolUnavailable(f"Go: {module.name} holds no {pattern}")
    target.write_bytes(b"\n---\n".join(file.read_bytes() for file in files))
    target.chmod(0o755)


def _require_go(recipe: GoModule, work: Path, env: Mapping[str, str | None]) -> None:
    if not shutil.which("go"):
        raise ToolUnavailable(f"Go: there is no go on PATH ({recipe.go} or newer would build it)")
    version = run(["go", "env", "GOVERSION"], cwd=work.parent, env=env).output.strip()
    if _version_numbers(version) < _version_numbers(recipe.go):
        raise ToolUnavailable(f"Go: {version} is too old, {recipe.go} or newer is needed")


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _require_success(result: ProcessResult) -> ProcessResult:
    if result.code:
        raise ToolUnavailable(f"Go: the build failed: {' / '.join(result.tail(3).splitlines())}")
    return result


def _throttle(name: str, on_line: OnLine) -> OnLine:
    """Pass on a line a second at most, with the time since the build began."""
    start = time.monotonic()
    last = [0.0]

    def tell(line: str) -> None:
        now = time.monotonic()
        if now - last[0] >= 1:
            last[0] = now
            on_line(f"{name}: building, {now - start:.0f} s, {line.strip()[:80]}")

    return tell
