"""Where Pulumi's state is, whose a lock is, and which passphrase is used."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.project import Project
from slipway._internal.run import state, statefile
from slipway._internal.run.owner import owner_of, read_state_ids


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*state.PASSPHRASE_VARIABLES, "PULUMI_BACKEND_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: file://../.slipway/state\n")
    return tmp_path


def test_a_file_backend_is_relative_to_the_project(root: Path) -> None:
    assert state.local_state_folder(Project(root)) == (root / ".slipway" / "state").resolve()


def test_an_absolute_file_backend_is_taken_as_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///var/state")
    assert state.local_state_folder(Project(root)) == Path("/var/state")


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///var/a%20b", "/var/a b"),
        ("file:///var/a b", "/var/a b"),
        ("file:///var/a?no_tmp_dir=true", "/var/a"),
        ("file:///var/a%25b", "/var/a%b"),
    ],
)
def test_an_address_is_read_as_pulumi_reads_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, url: str, folder: str
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", url)
    assert state.local_state_folder(Project(root)) == Path(folder)


@pytest.mark.parametrize("url", ["https://api.pulumi.com", "s3://team-state", "gs://x"])
def test_other_backends_have_no_folder(root: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", url)
    assert state.local_state_folder(Project(root)) is None


@pytest.mark.parametrize("elsewhere", ["", "file:///var/state", "s3://team-state"])
@pytest.mark.parametrize("known", [None, "harbour"])
@pytest.mark.parametrize(
    "open_state",
    [
        state.backend_url,
        state.local_state_folder,
        lambda project: project.name,
        state.pulumi_environment,
        state.lacks_passphrase,
        owner_of,
        lambda project: statefile.repair_state(project, "dev"),
        lambda project: read_state_ids(project, "dev"),
    ],
)
def test_a_project_that_is_not_named_as_the_workspace_is_refused_wherever_its_state_is_opened(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    open_state: Callable[[Project], object],
    known: str | None,
    elsewhere: str,
) -> None:
    if elsewhere:
        monkeypatch.setenv("PULUMI_BACKEND_URL", elsewhere)
    (root / "workspace.toml").write_text('registry = "r.example"\nname = "harbour"\n')
    text = (root / "infra" / "Pulumi.yaml").read_text()
    (root / "infra" / "Pulumi.yaml").write_text(f"# Where it runs\n{text}")
    with pytest.raises(ConfigError) as caught:
        open_state(Project(root, known))
    assert f"{root}/infra/Pulumi.yaml:2: `name` is 'shop'" in caught.value.message
    assert f"'harbour' by {root}/workspace.toml" in caught.value.message
    assert "`name: harbour`" in caught.value.remedy


@pytest.mark.parametrize("model", ['name = "shop"', 'registry = "r.example"', "name = [", "name = 1"])
def test_the_same_name_is_taken_and_what_is_wrong_in_the_workspaces_file_is_told_by_its_reader(
    root: Path, model: str
) -> None:
    (root / "workspace.toml").write_text(model)
    assert Project(root).name == "shop"


def test_an_address_of_a_state_that_is_none_is_refused_by_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "nonsense")
    with pytest.raises(ConfigError, match="PULUMI_BACKEND_URL is 'nonsense'"):
        state.local_state_folder(Project(root))


def test_a_folder_for_the_state_that_cannot_be_made_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///dev/null/state")
    with pytest.raises(ConfigError, match="/dev/null/state, cannot be made"):
        state.pulumi_environment(Project(root))


def test_a_passphrase_is_made_once_for_this_users_eyes_only(root: Path) -> None:
    first = state.pulumi_environment(Project(root))["PULUMI_CONFIG_PASSPHRASE_FILE"]
    text = Path(first).read_text()
    assert stat.S_IMODE(Path(first).stat().st_mode) == 0o600
    assert Path(state.pulumi_environment(Project(root))["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text() == text
    assert len(text) >= 32


def test_with_local_state_pulumi_has_a_home_where_it_can_keep_no_debug_log(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    home = Path(state.pulumi_environment(Project(root))["PULUMI_HOME"])
    assert (home / "logs").is_file()
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://team-state")
    assert "PULUMI_HOME" not in state.pulumi_environment(Project(root))


def test_the_home_is_the_users_own_where_the_state_is_elsewhere_or_one_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    assert str(state.pulumi_home(Project(root))) == state.pulumi_environment(Project(root))["PULUMI_HOME"]
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://team-state")
    assert state.pulumi_home(Project(root)) == Path.home() / ".pulumi"
    monkeypatch.setenv("PULUMI_HOME", "/elsewhere")
    assert state.pulumi_home(Project(root)) == Path("/elsewhere")


def test_how_often_go_programs_collect_garbage_is_for_the_user_to_say(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOMEMLIMIT", raising=False)
    monkeypatch.setenv("GOGC", "50")
    assert {name: state.pulumi_environment(Project(root))[name] for name in state.GO_SETTINGS} == {
        "GOGC": "50",
        "GOMEMLIMIT": "1GiB",
    }


def test_a_passphrase_of_the_users_own_comes_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in state.pulumi_environment(Project(root))
    assert not (root / ".slipway" / "passphrase").exists()


def test_a_shared_backends_stack_is_of_somebody_elses_passphrase_where_none_is_here(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not state.lacks_passphrase(Project(root)), "a folder of one's own"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://api.pulumi.com")
    assert not state.lacks_passphrase(Project(root)), "the service has keys of its own"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://team-state")
    assert state.lacks_passphrase(Project(root))
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in state.pulumi_environment(Project(root), "dev", make=False)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "given by a colleague")
    assert not state.lacks_passphrase(Project(root))


@pytest.mark.parametrize(
    ("data", "alive"),
    [
        ({"pid": 2**22 - 1, "hostname": os.uname().nodename, "username": "ann"}, False),
        ({"pid": os.getpid(), "hostname": os.uname().nodename}, False),  # lives, but is not Pulumi
        ({"pid": 1, "hostname": "elsewhere"}, True),  # nobody can tell from here
        ({}, False),  # a lock that was cut off while it was written
    ],
)
def test_a_locks_owner_is_judged_by_process_and_machine(tmp_path: Path, data: dict[str, object], alive: bool) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps(data) if data else "{")
    assert state.read_lock(path).alive is alive


def test_a_state_that_pulumi_compressed_is_there_and_the_next_is_not_compressed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_SELF_MANAGED_STATE_GZIP", "1")
    environment = state.pulumi_environment(Project(root))
    assert {environment[name] for name in state.COMPRESSION_VARIABLES} == {"false"}
    file = state.state_file(root / "state", "shop", "dev")
    file.parent.mkdir(parents=True)
    assert not state.state_exists(file) and state.list_stacks(file.parent) == []
    for name in ("dev.json.gz", "dev.json.gz.attrs", "dev.json.bak", "prod.json", "dev.v2.json"):
        file.with_name(name).touch()
    assert state.state_exists(file)
    assert state.list_stacks(file.parent) == ["dev", "dev.v2", "prod"]
