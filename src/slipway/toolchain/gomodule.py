"""Builds a tool from its Go module, in a go.mod of its own, written from data."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from slipway.model.scratch import own_folder, temporary_folder
from slipway.run.process import Result, run
from slipway.toolchain.data import GoModule, Tool
from slipway.toolchain.find import NotHad
from slipway.toolchain.leftovers import go_folder, remove_go_caches, size_of, using_go_caches
from slipway.toolchain.paths import cache_path

CACHE_LIMIT = 12 * 10**9
"""Bytes of Go's caches; with more they begin anew. All tools together take about ten gigabytes."""
BUILD_SECONDS = 45 * 60.0
UNCHECKED = ("GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE")
CACHES = {"GOCACHE": "build", "GOMODCACHE": "modules"}
"""Go's caches of Slipway's own, which `invoke prune --machine` may remove; a user's are taken where they are named."""
NOTHING = "nothing.invalid"
DATABASES = ("sum.golang.org", "sum.golang.google.cn")

OnLine = Callable[[str], None]


def from_go(tool: Tool, into: Path, on_line: OnLine) -> None:
    """Build the tool's binaries into a folder.

    The tool's own modules have the sums that tools.toml pins, and all others those of Go's checksum database, which
    nothing in the user's environment switches off.

    Raises:
        NotHad: Go is missing or too old, or the build failed (its last lines are in the text).
    """
    recipe = tool.go
    if recipe is None:
        raise NotHad("Go: no module is known")
    with using_go_caches(), temporary_folder(cache_path(), "go") as work:
        _write(work, tool.name, recipe)
        env = {**build_env(recipe), "GOTMPDIR": str(own_folder(cache_path()))}
        _sufficient(recipe, work, env)
        tell = _clock(tool.name, on_line)
        for package, binary in recipe.packages.items():
            argv = build_command(recipe, package, into / binary)
            _must(run(argv, cwd=work, env=env, on_line=tell, timeout=BUILD_SECONDS))
        for name, place in recipe.extra.items():
            module, path = place.split(" ", 1)
            _must(run(["go", "mod", "download", module], cwd=work, env=env, timeout=BUILD_SECONDS))
            source = _must(run(["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", module], cwd=work, env=env))
            _copy(Path(source.output.strip()), path, into / name)
    if size_of(go_folder()) > CACHE_LIMIT:
        remove_go_caches()


def go_mod(name: str, recipe: GoModule) -> str:
    """Return the go.mod that builds one tool."""
    requires = "".join(f"\t{each}\n" for each in recipe.requires)
    same = "".join(f"replace {each} => {each} {at}\n" for at, modules in recipe.replace.items() for each in modules)
    return f"module slipway.tools/{name}\n\ngo {recipe.go}\n\nrequire (\n{requires})\n{same}"


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


def build_env(recipe: GoModule) -> dict[str, str | None]:
    """Return the build's variables: its own, and none of the user's workspace, flags or target; None takes one away.

    Go's checksum database vouches for every module: what would switch it off is set to what matches nothing (an empty
    value would not do: Go then takes the one that `go env -w` has kept).
    """
    others = {"GOOS": None, "GOARCH": None, "GOEXPERIMENT": None}
    return {
        **others,
        **dict.fromkeys(UNCHECKED, NOTHING),
        "GOSUMDB": checksum_database(os.environ.get("GOSUMDB", "")),
        "GO111MODULE": "on",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false -modcacherw",
        **{name: os.environ.get(name) or str(go_folder() / own) for name, own in CACHES.items()},
        **recipe.env,
    }


def checksum_database(named: str) -> str:
    """Return Go's checksum database as a user may name it: by another way, but no other, and with no other key."""
    return named if named.split(" ", maxsplit=1)[0] in DATABASES else DATABASES[0]


def _write(work: Path, name: str, recipe: GoModule) -> None:
    (work / "go.mod").write_text(go_mod(name, recipe), encoding="utf-8")
    if recipe.sum:
        (work / "go.sum").write_text("\n".join(recipe.sum) + "\n", encoding="utf-8")


def _copy(module: Path, pattern: str, target: Path) -> None:
    """Copy a file of a module; several that a pattern names become one stream of YAML documents."""
    files = sorted(module.glob(pattern))
    if not files:
        raise NotHad(f"Go: {module.name} holds no {pattern}")
    target.write_bytes(b"\n---\n".join(file.read_bytes() for file in files))
    target.chmod(0o755)


def _sufficient(recipe: GoModule, work: Path, env: Mapping[str, str | None]) -> None:
    if not shutil.which("go"):
        raise NotHad(f"Go: there is no go on PATH ({recipe.go} or newer would build it)")
    version = run(["go", "env", "GOVERSION"], cwd=work.parent, env=env).output.strip()
    if _numbers(version) < _numbers(recipe.go):
        raise NotHad(f"Go: {version} is too old, {recipe.go} or newer is needed")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _must(result: Result) -> Result:
    if result.code:
        raise NotHad(f"Go: the build failed: {' / '.join(result.tail(3).splitlines())}")
    return result


def _clock(name: str, on_line: OnLine) -> OnLine:
    """Pass on a line a second at most, with the time since the build began."""
    start = time.monotonic()
    last = [0.0]

    def tell(line: str) -> None:
        now = time.monotonic()
        if now - last[0] >= 1:
            last[0] = now
            on_line(f"{name}: building, {now - start:.0f} s, {line.strip()[:80]}")

    return tell
