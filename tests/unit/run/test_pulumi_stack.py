"""How the Pulumi stack handles errors: the program's own first, then policy, disk, passphrase, and its words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pulumi import automation

from slipway._internal.model.errors import ConfigError, GateRefused, SlipwayError, StackBusy
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import load_workspace
from slipway._internal.run import pulumi
from slipway._internal.run.pulumi import Outcome, PulumiStack, StateNotSaved


class Automation:
    """Pulumi's API: what was called, and how each call ends."""

    def __init__(self) -> None:
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.fails: Exception | None = None
        self.program: Any = None
        self.deployment: dict[str, Any] | None = {}
        self.environment: dict[str, str] = {}
        self.stacks = ["prod", "dev"]
        self.event: Any = None

    def do(self, name: str) -> Any:
        def call(**options: Any) -> Any:
            self.called.append((name, options))
            if out := options.get("on_output"):
                out("token=hunter22")
            if self.event and (on_event := options.get("on_event")):
                on_event(self.event)
            if name in ("up", "preview") and self.program:
                try:
                    self.program()
                except Exception as error:
                    raise failed("program failed") from error
            if self.fails:
                raise self.fails
            return None

        return call

    def stack(self) -> Any:
        calls = {name: self.do(name) for name in ("up", "preview", "destroy", "refresh")}
        return SimpleNamespace(**calls, export_stack=lambda: SimpleNamespace(deployment=self.deployment))


def failed(text: str, kind: type[automation.CommandError] = automation.CommandError) -> automation.CommandError:
    return kind(automation.CommandResult(stdout="", stderr=text, code=1))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Automation:
    found = Automation()

    def local_workspace(**options: Any) -> Any:
        found.program = options["program"]
        found.environment = options["env_vars"]
        summaries = [SimpleNamespace(name=name) for name in found.stacks]
        return SimpleNamespace(list_stacks=lambda: summaries)

    @contextmanager
    def serve(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(environment={"POLICY": "1"}, packs=["pack"])

    monkeypatch.setattr(pulumi.automation, "LocalWorkspace", local_workspace)
    monkeypatch.setattr(pulumi.automation.Stack, "create_or_select", lambda *_: found.stack())
    monkeypatch.setattr(pulumi, "ExistingStack", lambda *_: found.stack())
    monkeypatch.setattr(pulumi, "PulumiCli", lambda cli, _scratch: cli)
    monkeypatch.setattr(pulumi, "serve_policies", serve)
    monkeypatch.setattr(pulumi, "pulumi_environment", lambda *_a, **_k: {"PULUMI_HOME": "/home"})
    monkeypatch.setattr(pulumi, "lacks_passphrase", lambda _root: False)
    return found


@pytest.fixture
def dev(tmp_path: Path, api: Automation) -> PulumiStack:
    """The dev stack of a workspace whose state is in its own folder."""
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    infra = tmp_path / "infra"
    infra.mkdir()
    file = infra / "Pulumi.dev.yaml"
    file.write_text("config:\n  slipway:images: inline\n")
    (infra / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: file://../.slipway/state\n")
    stack = Stack("dev", file, "inline", "docker", protected=False)
    log = tmp_path / "logs" / "pulumi.log"
    log.parent.mkdir()
    return PulumiStack(load_workspace(tmp_path), stack, lambda: None, tmp_path / "pulumi", log, {"MORE": "2"})


def know(dev: PulumiStack) -> None:
    """Have the backend know the stack."""
    file = dev._state_file()
    assert file
    file.parent.mkdir(parents=True)
    file.write_text('{"version": 3, "checkpoint": {"latest": {"resources": []}}}')


def up(dev: PulumiStack) -> Outcome:
    return dev.up(lambda _event: None)


def test_an_update_runs_with_the_policies_and_its_output_is_only_in_the_log(
    dev: PulumiStack, api: Automation, capfd: pytest.CaptureFixture[str]
) -> None:
    up(dev)
    ((name, options),) = api.called
    assert name == "up" and options["policy_packs"] == ["pack"]
    assert api.environment == {"PULUMI_HOME": "/home", "MORE": "2", "POLICY": "1"}
    assert "token=" in dev.log.read_text() and "token=" not in capfd.readouterr().out
    assert dev.log.stat().st_mode & 0o077 == 0


def test_a_preview_hands_lines_on_and_destroy_and_refresh_are_what_they_say(dev: PulumiStack, api: Automation) -> None:
    lines: list[str] = []
    dev.preview(lambda _event: None, on_output=lines.append)
    dev.destroy(lambda _event: None)
    dev.refresh()
    assert [name for name, _ in api.called] == ["preview", "destroy", "refresh"] and lines == ["token=hunter22"]
    assert api.called[0][1]["diff"] is True and api.called[2][1]["clear_pending_creates"] is True


def test_the_programs_own_error_is_the_one_that_is_told(dev: PulumiStack) -> None:
    def program() -> None:
        raise GateRefused("the image is not signed", remedy="Sign it.")

    dev.program = program
    with pytest.raises(GateRefused, match="the image is not signed"):
        up(dev)


def test_a_deploy_by_somebody_else_is_told_as_that(dev: PulumiStack, api: Automation) -> None:
    api.fails = failed("conflict", automation.ConcurrentUpdateError)
    with pytest.raises(StackBusy, match="someone else is deploying `dev`") as refused:
        up(dev)
    assert refused.value.exit_code == 5 and "invoke doctor" in refused.value.remedy


def test_a_services_full_volume_is_not_taken_for_the_states_disk(dev: PulumiStack, api: Automation) -> None:
    api.fails = failed(
        "    error: service db failed: it ended\n    its last lines (db):\n      FATAL: No space left on device\n\n"
        "      HINT: Check free disk space.\n    remedy: Make room"
    )
    with pytest.raises(SlipwayError) as refused:
        up(dev)
    assert type(refused.value) is SlipwayError
    api.fails = failed("    its last lines (db):\n      it ended\n    remedy: none\n    error: No space left on device")
    with pytest.raises(StateNotSaved):
        up(dev)


@pytest.mark.parametrize("words", ["no space left on device", "Disk quota exceeded", "read-only file system"])
def test_a_disk_that_takes_nothing_means_that_the_state_may_lack_something(
    dev: PulumiStack, api: Automation, words: str
) -> None:
    api.fails = failed(f"error: writing the snapshot: {words}")
    with pytest.raises(StateNotSaved) as refused:
        up(dev)
    assert words in refused.value.message and "invoke prune" in refused.value.remedy and refused.value.log == dev.log


def test_another_passphrase_than_the_states_is_told_with_where_it_comes_from(
    dev: PulumiStack, api: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in pulumi.PASSPHRASE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    api.fails = failed("error: incorrect passphrase")
    with pytest.raises(ConfigError) as refused:
        up(dev)
    file = pulumi.passphrase.passphrase_file(dev.workspace.root)
    assert refused.value.message.startswith(f"{file} holds another passphrase")
    variable = pulumi.PASSPHRASE_VARIABLES[0]
    monkeypatch.setenv(variable, "x")
    file.parent.mkdir(exist_ok=True)
    file.write_text("y")
    with pytest.raises(ConfigError) as refused:
        up(dev)
    assert refused.value.message.startswith(f"{variable} holds another passphrase")
    assert f"unset it, and {file} is taken" in refused.value.remedy


def test_whatever_else_fails_is_told_with_pulumis_words_and_the_log(dev: PulumiStack, api: Automation) -> None:
    api.fails = failed("error: the provider broke")
    for work in (up, lambda stack: stack.preview(lambda _event: None), lambda stack: stack.refresh()):
        with pytest.raises(SlipwayError, match="Pulumi failed for `dev`") as refused:
            work(dev)
        assert refused.value.log == dev.log


def test_a_stack_without_a_passphrase_is_not_opened(
    dev: PulumiStack, api: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi, "lacks_passphrase", lambda _root: True)
    up(dev)
    know(dev)
    with pytest.raises(SlipwayError) as refused:
        up(dev)
    assert "state and the secrets of `dev`" in f"{refused.value.message}{refused.value.remedy}"
    assert len(api.called) == 1, "where there is no state yet, there is nothing to open"


def test_what_a_file_backend_holds_is_read_without_pulumi(dev: PulumiStack, api: Automation) -> None:
    assert not dev.exists() and dev.list_resources() == [] and dev.read_outputs() == {}
    know(dev)
    assert dev.exists() and dev.list_stacks() == ["dev"] and dev.list_locks() == []
    api.deployment = {"resources": [{"type": "pulumi:pulumi:Stack", "outputs": {"urls": "u"}}, "damaged"]}
    assert dev.read_outputs() == {"urls": "u"} and len(dev.list_resources()) == 1
    api.deployment = None
    assert dev.list_resources() == []
    assert api.called == []


def test_another_backend_is_asked_which_stacks_there_are(dev: PulumiStack, api: Automation) -> None:
    (dev.workspace.root / "infra" / "Pulumi.yaml").write_text("name: shop\nbackend:\n  url: s3://state\n")
    assert dev.list_stacks() == ["dev", "prod"] and dev.exists() and dev.list_locks() == []
    api.stacks = ["prod"]
    assert not dev.exists()


def test_the_state_is_backed_up_before_it_is_changed_and_not_for_a_preview(
    dev: PulumiStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Path] = []
    monkeypatch.setattr(pulumi.statefile, "back_up", saved.append)
    dev.preview(lambda _event: None)
    assert saved == []
    up(dev)
    dev.destroy(lambda _event: None)
    dev.refresh()
    assert saved == [dev._state_file()] * 3


def test_a_disk_without_room_is_refused_before_anything_is_changed(
    dev: PulumiStack, api: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: Path) -> None:
        raise SlipwayError("no room")

    monkeypatch.setattr(pulumi.statefile, "require_space", full)
    with pytest.raises(SlipwayError, match="no room"):
        up(dev)
    assert api.called == []
