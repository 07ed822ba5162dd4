"""What stops `invoke update`: a kill at any moment, Ctrl-C, changes that are in no commit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bake.history import FIRST, INSIDE, History, edit, files_in, git, save, second, status
from tests.conftest import ENGINE

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.scaffold import update_apply
from slipway._internal.scaffold.update import check_update, interrupted_update, preview_update, update_workspace
from slipway._internal.scaffold.update_apply import UNDO, UpdatePlan, apply_update, journal_path
from slipway._internal.scaffold.update_plan import UpdateRequest, prepare_update
from slipway._internal.scaffold.workspace_checkout import WorkspaceCheckout, open_checkout

STEPS = ("write_atomically", "place_file", "remove_file")
SECONDS = 60.0


def agree(_question: str) -> bool:
    return True


def worked_out(workspace: Path) -> UpdatePlan:
    with temporary_folder(workspace / ".slipway", "test") as folder:
        found = prepare_update(open_checkout(workspace), UpdateRequest(), folder, print, agree, keep=True)
    assert found
    return found


def die_at(step: int) -> None:
    """Have this process killed when it begins the step of this number."""
    left = [step]

    def dying(work: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return work(*args, **kwargs)

        return instead

    for name in STEPS:
        setattr(update_apply, name, dying(getattr(update_apply, name)))
    for method in ("write_files", "set_index", "refresh_index"):
        setattr(WorkspaceCheckout, method, dying(getattr(WorkspaceCheckout, method)))
    Path.unlink = dying(Path.unlink)  # type: ignore[method-assign]


def killed_at(step: int, workspace: Path, wanted: UpdatePlan) -> bool:
    """Put an update into a workspace in a process that is killed at a step; whether it had so many."""
    child = os.fork()
    if not child:
        try:
            die_at(step)
            apply_update(open_checkout(workspace), wanted)
        finally:
            os._exit(0)
    _, how = os.waitpid(child, 0)
    return os.WIFSIGNALED(how) and os.WTERMSIG(how) == signal.SIGKILL


def test_a_kill_at_any_step_can_be_undone_by_git_and_finished_by_the_next_update(
    history: History, shop: Path, tmp_path: Path
) -> None:
    edit(shop, "infra/main.py", "line_3 = 3\n", "line_3 = 'ours'\n")
    save(shop)
    second(history)
    old, wanted = files_in(shop), worked_out(shop)
    whole = tmp_path / "whole"
    shutil.copytree(shop, whole, symlinks=True)
    apply_update(open_checkout(whole), wanted)
    new, staged = files_in(whole), status(whole)
    assert new != old and len(wanted.conflicts) == 1

    for step in range(100):
        broken, undone = tmp_path / f"broken-{step}", tmp_path / f"undone-{step}"
        shutil.copytree(shop, broken, symlinks=True)
        if not killed_at(step, broken, wanted):
            break
        shutil.copytree(broken, undone, symlinks=True)
        subprocess.run(["git", *UNDO.split()], cwd=undone, check=True)
        assert (files_in(undone), status(undone)) == (old, []), f"undone after a kill at step {step}"
        assert update_workspace(broken, UpdateRequest(), print, agree)
        assert (files_in(broken), status(broken)) == (new, staged), f"finished after a kill at step {step}"
        assert not journal_path(broken).exists()
    assert step > len(wanted.changes), "there is a step for each file, and some more"
    again = tmp_path / f"undone-{step - 1}"
    assert update_workspace(again, UpdateRequest(), print, agree), "one that was undone starts anew"
    assert files_in(again) == new


def test_files_that_were_changed_after_a_kill_are_not_written_over(history: History, shop: Path) -> None:
    second(history)
    assert killed_at(6, shop, worked_out(shop))
    (shop / "tasks.py").write_text("VERSION = 'mine'\n")
    with pytest.raises(ConfigError, match=r"these files were changed since: tasks\.py") as refused:
        update_workspace(shop, UpdateRequest(), print, agree)
    assert UNDO in refused.value.remedy
    assert (shop / "tasks.py").read_text() == "VERSION = 'mine'\n"
    for look in (
        lambda: check_update(shop, UpdateRequest(), print),
        lambda: preview_update(shop, UpdateRequest(), print, agree),
    ):
        with pytest.raises(SlipwayError, match="interrupted"):
            look()
    git(shop, "commit", "--quiet", "--all", "--message", "all the same")
    (shop / "tasks.py").write_text("VERSION = 'mine again'\n")
    with pytest.raises(ConfigError, match="another commit is checked out since"):
        update_workspace(shop, UpdateRequest(), print, agree)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_files_are_written_comes_when_all_are(history: History, shop: Path, number: int) -> None:
    second(history)
    wanted = worked_out(shop)
    child = os.fork()
    if not child:
        real = update_apply.place_file
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        update_apply.place_file = lambda *args: (os.kill(os.getpid(), number), real(*args))  # type: ignore[assignment]
        try:
            apply_update(open_checkout(shop), wanted)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    _, how = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(how) == 130
    assert (shop / "tasks.py").read_text() == "VERSION = 2\n" and not journal_path(shop).exists()
    assert "M  tasks.py" in status(shop)


SLOW = """\
import pathlib, time
pathlib.Path({mark!r}).touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stop_while_the_template_is_rendered_leaves_the_old(
    history: History, shop: Path, tmp_path: Path, number: int
) -> None:
    mark = tmp_path / "rendering"
    history.release("1.1.0", {"hooks/post_gen_project.py": SLOW.format(mark=str(mark))})
    before = files_in(shop)
    command = spawn(shop, "update")
    wait_for(mark.exists)
    command.send_signal(number)
    said, _ = command.communicate(timeout=SECONDS)
    assert command.returncode == (-9 if number == signal.SIGKILL else 128 + number), said
    assert "Traceback" not in said
    assert files_in(shop) == before and status(shop) == []
    history.release("1.2.0", {"hooks/post_gen_project.py": "print('quick')\n"})
    assert spawn(shop, "update").wait(SECONDS) == 0
    assert [*(shop / ".slipway" / "tmp").iterdir()] == [], "what the killed one left is gone"


def spawn(workspace: Path, *words: str, below: str = ".", apart: bool = False) -> subprocess.Popen[str]:
    """Start a verb in a workspace, or in a folder below it, as `invoke` does; `apart` keeps the two outputs apart."""
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(tasks_for(workspace)), *words],
        cwd=workspace / below,
        env={**os.environ, "PYTHONPATH": str(ENGINE.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if apart else subprocess.STDOUT,
        text=True,
    )


def tasks_for(workspace: Path) -> Path:
    """Return a folder whose tasks.py has Slipway's verbs: a made-up template's own has none."""
    folder = workspace.parent / "tasks"
    folder.mkdir(exist_ok=True)
    (folder / "tasks.py").write_text(
        f"from pathlib import Path\nfrom slipway.tasks import verbs\nnamespace = verbs(Path({str(workspace)!r}))\n"
    )
    return folder


def wait_for(done: Callable[[], bool]) -> None:
    over = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < over
        time.sleep(0.05)


def everything(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, git's own among them, but for the scratch folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and ".slipway" not in path.parts
    }


def test_check_and_dry_write_nothing(history: History, shop: Path) -> None:
    git(shop, "status")  # which may write the index
    before = everything(shop)
    assert spawn(shop, "update", "--check").wait(SECONDS) == 0
    second(history)
    checked = spawn(shop, "update", "--check")
    said, _ = checked.communicate(timeout=SECONDS)
    assert checked.returncode == 1
    assert "The template is at v2.0.0, this workspace at v1.0.0: 1 commit behind." in said
    shown = spawn(shop, "update", "--dry")
    said, _ = shown.communicate(timeout=SECONDS)
    assert shown.returncode == 0
    rows = {tuple(line.split()) for line in said.splitlines()}
    assert {("added", "infra/added.py"), ("deleted", "infra/rules.py"), ("changed", "tasks.py")} < rows
    assert everything(shop) == before


def test_the_command_says_how_to_look_undo_and_go_on(history: History, shop: Path) -> None:
    second(history)
    done = spawn(shop, "update")
    said, _ = done.communicate(timeout=SECONDS)
    assert done.returncode == 0
    for words in ("The workspace is at v2.0.0", "git diff --staged", UNDO, "invoke doctor", "- The second."):
        assert words in said


def test_conflicts_end_with_exit_code_1_and_are_listed(history: History, shop: Path) -> None:
    edit(shop, "infra/main.py", "line_3 = 3\n", "line_3 = 'ours'\n")
    save(shop)
    second(history)
    for words in (("update", "--dry"), ("update",)):
        done = spawn(shop, *words)
        said, _ = done.communicate(timeout=SECONDS)
        assert done.returncode == 1, words
        assert "infra/main.py: you and the template changed the same lines" in said
        assert "up to date" not in said and "✔" not in said


def test_a_tree_with_changes_is_refused_by_name(history: History, shop: Path) -> None:
    second(history)
    edit(shop, "infra/main.py", "line_2 = 2\n", "line_2 = 'unsaved'\n")
    (shop / "new folder").mkdir()
    (shop / "new folder" / "ü.txt").write_text("untracked")
    git(shop, "rm", "--cached", "--quiet", "run.sh")
    before = files_in(shop), status(shop)
    for words in (("update",), ("update", "--dry")):
        done = spawn(shop, *words)
        said, _ = done.communicate(timeout=SECONDS)
        assert done.returncode == 2
        assert all(name in said for name in ("infra/main.py", "new folder/", "run.sh", "git stash --include-untracked"))
    assert (files_in(shop), status(shop)) == before
    git(shop, "stash", "--quiet", "--include-untracked")
    assert spawn(shop, "update").wait(SECONDS) == 0


def test_a_workspace_that_is_in_no_commit_is_refused(history: History, tmp_path: Path) -> None:
    shop = history.generate(tmp_path / "work", commit=False)
    with pytest.raises(ConfigError, match="is not in a git repository") as refused:
        update_workspace(shop, UpdateRequest(), print, agree)
    assert "git init && git add" in refused.value.remedy
    git(shop, "init", "--quiet")
    with pytest.raises(ConfigError, match="no commit has the workspace"):
        update_workspace(shop, UpdateRequest(), print, agree)
    outer = tmp_path / "outer"
    ignored = history.generate(outer, commit=False)
    git(outer, "init", "--quiet")
    (outer / ".gitignore").write_text("shop/\n")
    save(outer)
    with pytest.raises(ConfigError, match="no commit has the workspace"):
        update_workspace(ignored, UpdateRequest(), print, agree)


@pytest.mark.parametrize("name", ["local.cfg", "local.cfg/inner"])
def test_a_file_that_git_ignores_is_not_written_over(history: History, shop: Path, name: str) -> None:
    (shop / "local.cfg").write_text("this machine's")
    assert status(shop) == []
    gitignore = str(FIRST[f"{INSIDE}/.gitignore"]).replace("local.cfg\n", "")
    history.release("1.1.0", {f"{INSIDE}/.gitignore": gitignore, f"{INSIDE}/{name}": "the template's"})
    for work in (preview_update, update_workspace):
        with pytest.raises(ConfigError, match=r"the template adds files where git ignores others: local\.cfg"):
            work(shop, UpdateRequest(), print, agree)
    assert (shop / "local.cfg").read_text() == "this machine's" and status(shop) == []


def test_another_commit_or_change_meanwhile_is_seen(history: History, shop: Path) -> None:
    second(history)
    checkout, wanted = open_checkout(shop), worked_out(shop)
    (shop / "tasks.py").write_text("VERSION = 'saved meanwhile'\n")
    with pytest.raises(ConfigError, match=r"uncommitted changes: tasks\.py"):
        apply_update(checkout, wanted)
    save(shop)
    with pytest.raises(ConfigError, match="another commit was checked out during the update"):
        apply_update(checkout, wanted)
    assert status(shop) == []


def test_scratch_files_are_no_changes_even_where_git_does_not_ignore_them(history: History, shop: Path) -> None:
    (shop / ".gitignore").unlink()
    save(shop)
    second(history)
    assert update_workspace(shop, UpdateRequest(), print, agree)
    assert (shop / "infra" / "added.py").is_file()


def test_a_repository_that_git_does_not_read_is_told_apart_from_none(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / ".git" / "HEAD").unlink()
    with pytest.raises(ConfigError, match="not a git repository") as refused:
        check_update(shop, UpdateRequest(), print)
    assert "may be damaged" in refused.value.remedy


def test_doctor_is_told_of_an_update_that_was_killed(history: History, shop: Path) -> None:
    assert not [*interrupted_update(shop)]
    second(history)
    assert killed_at(6, shop, worked_out(shop))
    (finding,) = interrupted_update(shop)
    assert not finding.ok and "invoke update" in finding.remedy and UNDO in finding.remedy
    subprocess.run(["git", *UNDO.split()], cwd=shop, check=True)
    assert not [*interrupted_update(shop)], "where it was undone there is nothing to tell"
