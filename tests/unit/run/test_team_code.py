"""A workspace's own Python is loaded by its path, once, and what is wrong in it is said with file and line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway._internal.model.errors import ConfigError, EvidenceError
from slipway._internal.run.team_code import find_function, load_infra, load_infra_module, team_errors


@pytest.fixture(autouse=True)
def own_infra() -> Iterator[None]:
    """Give the other tests their `infra` back."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "infra"}
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "infra"]:
        del sys.modules[name]
    sys.modules.update(before)


def write(root: Path, name: str, text: str) -> Path:
    path = root / "infra" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("package", [True, False])
def test_a_module_is_run_once_and_so_is_what_it_imports(tmp_path: Path, package: bool) -> None:
    if package:
        write(tmp_path, "__init__.py", "")
    write(tmp_path, "runs.py", "runs = []\n")
    write(tmp_path, "images.py", "from infra.runs import runs\nruns.append('images')\n")
    write(tmp_path, "__main__.py", "from infra.images import runs\nruns.append('main')\n")
    found = load_infra(tmp_path, "__main__")
    assert load_infra(tmp_path, "__main__") is found
    assert load_infra(tmp_path, "images").runs == ["images", "main"]


def test_each_workspace_has_its_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "images.py", f"NAME = {name!r}\n")
        write(tmp_path / name, "__main__.py", "from infra.images import NAME\n")
    assert [load_infra(tmp_path / name, "__main__").NAME for name in ("one", "two", "one")] == ["one", "two", "one"]


def test_a_files_name_may_be_no_word_of_python(tmp_path: Path) -> None:
    file = write(tmp_path, "targets/my-target.py", "runs = []\n")
    module = load_infra_module(tmp_path, file)
    assert load_infra_module(tmp_path, file) is module
    with pytest.raises(ConfigError, match=r"my-target\.py has no function `declare_services`"):
        find_function(module, "declare_services", file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nx = (\n", "SyntaxError"),
        ("\nfrom infra import gone\n", "ImportError"),
        ("\nimport no_such_package\n", "ModuleNotFoundError"),
        ("\nfrom slipway._internal.nowhere import x\n", "No module named"),
        ("\n1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_imported_is_named_by_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, "__main__.py", text)
    for _ in range(2):
        with pytest.raises(ConfigError, match=said) as caught:
            load_infra(tmp_path, "__main__")
        assert f"{file}:2: " in caught.value.message
    own = write(tmp_path, "targets/own.py", text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_infra_module(tmp_path, own)
    assert f"{own}:2: " in caught.value.message


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    write(tmp_path, "__init__.py", "")
    with pytest.raises(ConfigError, match=r"policy/__main__\.py is missing"):
        load_infra(tmp_path, "policy.__main__")


def test_an_error_of_slipways_own_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError), team_errors(tmp_path):
        raise EvidenceError("x")
    with pytest.raises(ZeroDivisionError), team_errors(tmp_path):
        _ = 1 / 0
