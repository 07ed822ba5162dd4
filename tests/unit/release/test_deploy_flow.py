"""A deploy from its first question to what then runs: what is read anew, what is cleared away, what a failure says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from tests.unit.release.conftest import DIGEST, Deployment

from slipway._internal.build import build_command
from slipway._internal.context import protection
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.errors import ConfigError, EvidenceError, SlipwayError
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release import deploy
from slipway._internal.rollout import release_progress
from slipway._internal.run.pulumi import Outcome
from slipway._internal.run.state import deploy_marker_file

LIVE_RELEASE = {
    "type": "slipway:index:Release",
    "id": "r",
    "outputs": {
        "releases": [
            {
                "id": "r1",
                "time": "2026-11-30T10:00:00+00:00",
                "mode": "inline",
                "digests": {"service-000": f"x@{DIGEST}"},
                "contents": {},
            }
        ]
    },
}
LIVE = {"type": "slipway:index:Live", "id": "l", "outputs": {"live": "r1", "good": []}}


def yes(_question: str) -> bool:
    return True


def run(deployment: Deployment) -> deploy.DeployResult:
    return deploy.deploy_stack(deployment.context, deployment.stack, deployment.reporter, yes)


@pytest.fixture
def interrupted(deployment: Deployment) -> Deployment:
    """A stack whose last deploy was killed."""
    mark = deploy_marker_file(deployment.root, "dev")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text("1\n")
    return deployment


def test_what_then_runs_is_told_with_digest_and_health(deployment: Deployment) -> None:
    outputs = {"images": {"service-000": f"127.0.0.1:1/many/service-000@{DIGEST}"}}
    deployment.pulumi_stack.gives = [Outcome({"create": 3, "same": 1}, outputs)]
    result = run(deployment)
    assert [(row.service, row.digest, row.health) for row in result.rows] == [
        ("service-000", DIGEST, "healthy"),
        ("service-001", "", "healthy"),
    ]
    assert (result.changed, result.healthy, result.operations) == (True, True, {"create": 3, "same": 1})
    assert result.as_dict()["healthy"] is True
    assert deployment.pulumi_stack.did == ["up"]
    assert deployment.target.did == ["remove superseded", "record starts"]


@pytest.mark.parametrize(
    ("health", "healthy"),
    [("unhealthy", False), ("200 OK", True), ("404 Not Found", True), ("502 Bad Gateway", False), ("scheduled", True)],
)
def test_a_deploy_is_healthy_where_every_service_answers(health: str, healthy: bool) -> None:
    rows = (deploy.DeployedService("a", DIGEST, "", "healthy"), deploy.DeployedService("b", DIGEST, "", health))
    assert deploy.DeployResult("dev", "inline", rows, {}, True, 1.0).healthy is healthy


def test_a_state_that_had_to_be_repaired_is_told(deployment: Deployment) -> None:
    deployment.pulumi_stack.repaired = "the state was put back"
    run(deployment)
    assert "the state was put back" in deployment.reporter.lines


def test_what_somebody_changed_behind_pulumis_back_is_read_first(deployment: Deployment) -> None:
    deployment.target.drifted = ["service-001"]
    run(deployment)
    assert deployment.pulumi_stack.did == ["refresh", "up"]
    assert any("service-001" in line for line in deployment.reporter.lines)


def test_after_a_killed_deploy_what_really_runs_is_read_and_its_leftovers_go(interrupted: Deployment) -> None:
    interrupted.pulumi_stack.resources = [{"id": "c1"}]
    run(interrupted)
    assert interrupted.pulumi_stack.did == ["refresh", "up"]
    assert interrupted.target.did[:2] == ["refuse foreign objects", "remove orphans"]
    assert "c1" in interrupted.target.orphans_beside
    assert not deploy_marker_file(interrupted.root, "dev").exists()


def test_what_a_killed_deploy_made_on_a_cluster_is_taken_over(interrupted: Deployment) -> None:
    interrupted.target.adopts = True
    run(interrupted)
    assert [args[0].adopts_existing for args in interrupted.opened] == [False, True]


def test_a_stack_that_pulumi_never_heard_of_is_not_read(interrupted: Deployment) -> None:
    interrupted.pulumi_stack.known = False
    run(interrupted)
    assert interrupted.pulumi_stack.did == ["up"]


def test_a_failure_is_explained_by_where_it_runs_and_the_old_images_can_be_deployed_again(
    deployment: Deployment,
) -> None:
    deployment.pulumi_stack.gives = [SlipwayError("Pulumi failed"), Outcome({"update": 1}, {})]
    deployment.pulumi_stack.resources = [LIVE_RELEASE, LIVE]

    def explain(error: SlipwayError, services: Any, live_images: Any, redeploy: Any) -> SlipwayError:
        redeploy(live_images())
        return SlipwayError("service-000 crashes", remedy="Read its log.")

    deployment.target.explains = explain
    with pytest.raises(SlipwayError, match="service-000 crashes"):
        run(deployment)
    assert deployment.pulumi_stack.did == ["up", "up"]
    assert deployment.opened[-1][2] == {"service-000": f"x@{DIGEST}"}
    assert any("service-000" in line for line in deployment.reporter.lines)
    assert [args[0].rolls_back for args in deployment.opened] == [False, True]
    assert deployment.opened[-1][1].stack.rolls_back is True
    assert not any("release command" in line for line in deployment.reporter.lines)


def test_a_rollback_says_whose_release_commands_are_not_run(deployment: Deployment) -> None:
    file = deployment.root / "services" / "service-001" / "service.toml"
    file.write_text(f'release = ["migrate"]\n{file.read_text()}')
    workspace = load_workspace(deployment.root)
    assert "(service-001)" in deploy.skipped_release_commands(workspace)
    file.write_text(file.read_text().replace('release = ["migrate"]\n', ""))
    assert deploy.skipped_release_commands(load_workspace(deployment.root)) == ""


def test_the_progress_of_release_commands_is_told(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_progress, "PROGRESS_SECONDS", 0.0)
    up = deployment.pulumi_stack.up

    def up_with_command(*args: Any, **options: Any) -> Outcome:
        release_progress.Progress("service-000").tell()
        return up(*args, **options)

    monkeypatch.setattr(deployment.pulumi_stack, "up", up_with_command)
    run(deployment)
    assert "service-000: release command running 0 s" in deployment.reporter.lines


def test_what_pulumi_calls_done_but_never_rolled_out_is_a_failure(deployment: Deployment) -> None:
    seen: list[list[str]] = []
    deployment.target.unfinished = [["service-001"]]

    def explain(error: SlipwayError, services: Any, *_rest: Any) -> SlipwayError:
        seen.append(list(services))
        return error

    deployment.target.explains = explain
    with pytest.raises(SlipwayError, match="service-001"):
        run(deployment)
    assert seen == [["service-001"]]


@pytest.mark.parametrize("error", [ConfigError("port is taken"), EvidenceError("not locked")])
def test_a_mistake_of_configuration_is_told_as_it_is(deployment: Deployment, error: SlipwayError) -> None:
    deployment.pulumi_stack.gives = [error]
    deployment.target.explains = lambda *_: SlipwayError("something else")
    with pytest.raises(type(error), match=error.message):
        run(deployment)


def test_a_plugin_that_hung_is_done_without_and_the_deploy_goes_on(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    stuck = ["service-000", ""]

    class Watchdog:
        def __init__(self, *_: Any) -> None:
            self.stuck_service = stuck.pop(0)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(deploy, "PluginWatchdog", Watchdog)
    monkeypatch.setattr(build_command, "build_ahead", lambda _context, stack, _reporter: built.append(stack.name))
    deployment.pulumi_stack.gives = [SlipwayError("the plugin ended")]
    assert run(deployment).changed
    assert built == ["dev"] and deployment.pulumi_stack.did == ["up", "up"]
    assert any("service-000" in line and "64 KiB" in line for line in deployment.reporter.lines)


def test_a_preview_shows_the_difference_and_the_advice_and_changes_nothing(deployment: Deployment) -> None:
    deployment.pulumi_stack.gives = [Outcome({"create": 1}, {})]
    lines, outcome = deploy.preview_stack(deployment.context, deployment.stack)
    assert lines == ["    + slipway:docker:Container: (create)", "advice: pin the image"]
    assert outcome.operations == {"create": 1}
    assert deployment.pulumi_stack.did == ["preview"]


def remove(deployment: Deployment, *, also_abandoned: bool = False) -> Outcome:
    return deploy.remove_stack(
        deployment.context, deployment.stack, deployment.reporter, yes, also_abandoned=also_abandoned
    )


def test_all_that_runs_is_removed_and_waited_for(interrupted: Deployment) -> None:
    interrupted.pulumi_stack.gives = [Outcome({"delete": 4}, {})]
    assert remove(interrupted, also_abandoned=True).operations == {"delete": 4}
    assert interrupted.target.did == [
        *("remove abandoned", "refuse foreign objects", "remove superseded", "wait deleted")
    ]
    assert not deploy_marker_file(interrupted.root, "dev").exists()


def test_what_pulumi_never_heard_of_is_removed_without_it(deployment: Deployment) -> None:
    deployment.pulumi_stack.known = False
    assert remove(deployment).operations == {}
    assert deployment.pulumi_stack.did == [] and "wait deleted" in deployment.target.did


def test_what_another_folder_runs_is_not_removed(deployment: Deployment) -> None:
    deployment.target.foreign = ConfigError("it is /elsewhere's")
    with pytest.raises(ConfigError, match="/elsewhere"):
        remove(deployment)
    assert deployment.pulumi_stack.did == []


def test_another_folders_objects_are_refused_before_a_first_deploy_builds_anything(deployment: Deployment) -> None:
    deployment.target.foreign = ConfigError("it is /elsewhere's")
    with pytest.raises(ConfigError, match="/elsewhere"):
        deploy.refuse_foreign_objects_early(deployment.context, deployment.stack)
    deployment.target.silent = True  # what does not answer yet is asked while Pulumi starts
    deploy.refuse_foreign_objects_early(deployment.context, deployment.stack)


def test_the_state_in_a_folder_and_that_of_a_service_know_the_same_ids(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack: Any = deployment.pulumi_stack
    stack.resources = [{"id": "c1"}, {"type": "a provider"}]
    monkeypatch.setattr(deploy, "read_state_ids", lambda *_: {"c2"})
    assert deploy.stack_resource_ids(stack) == {"c2"}
    monkeypatch.setattr(deploy, "local_state_folder", lambda _project: None)
    assert deploy.stack_resource_ids(stack) == {"c1"}


def test_a_stack_that_lost_its_protection_is_neither_previewed_nor_deployed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "was_protected", lambda *_: True)
    with pytest.raises(ConfigError, match="dev"):
        deploy.preview_stack(deployment.context, deployment.stack)
    with pytest.raises(ConfigError, match="dev"):
        run(deployment)
    assert deployment.opened == []


class Answers(BaseHTTPRequestHandler):
    """Answers with the statuses that a test has put there, the last one again and again."""

    statuses: list[int] = []

    def do_GET(self) -> None:
        self.send_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        self.end_headers()

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    """An address of this machine that answers."""
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("statuses", "said"), [([200], "200 OK"), ([404], "404 Not Found"), ([503, 200], "200 OK")])
def test_a_url_is_asked_until_it_answers(
    url: str, monkeypatch: pytest.MonkeyPatch, statuses: list[int], said: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # nobody is there: it has to be left out
    Answers.statuses = statuses
    assert deploy.probe_url(url) == said


def test_a_url_that_only_fails_is_told_by_its_last_answer(url: str) -> None:
    Answers.statuses = [503]
    assert deploy.probe_url(url, seconds=0) == "503 Service Unavailable"
    assert deploy.probe_url("http://127.0.0.1:1/", seconds=0) == "no answer (ConnectionError)"


def test_a_service_with_a_url_is_asked_over_it(deployment: Deployment, url: str) -> None:
    Answers.statuses = [204]
    outcome = Outcome({}, {"urls": {"service-000": url}})
    rows = list(deploy.check_services(deployment.workspace, deployment.target, outcome))  # type: ignore[arg-type]
    assert [(row.url, row.health) for row in rows] == [(url, "204 No Content"), ("", "healthy")]


def test_the_teams_program_and_policies_are_what_infra_has(deployment: Deployment) -> None:
    infra = deployment.root / "infra"
    (infra / "policy").mkdir()
    (infra / "__init__.py").write_text("")
    (infra / "__main__.py").write_text("def program(inputs, overrides):\n    inputs.seen.append(dict(overrides))\n")
    (infra / "policy" / "__init__.py").write_text("")
    (infra / "policy" / "__main__.py").write_text(
        'def make_policies(context):\n    return sorted(context.released_images("dev"))\n'
    )
    inputs: Any = DeployInputs(deployment.workspace, deployment.stack, prebuilt_images={"gateway": "nginx"})
    seen: list[dict[str, str]] = []
    object.__setattr__(inputs, "seen", seen)
    deploy.run_infra_program(inputs, {"service-000": "old"})
    assert seen == [{"service-000": "old"}]
    found: Any = deploy.load_policies(deployment.workspace, inputs, ["old"])
    assert found == ["nginx", "old"], "what may run where the stack is protected"


def test_a_workspace_without_a_program_is_told_which_file_is_missing(deployment: Deployment) -> None:
    with pytest.raises(ConfigError, match="__main__"):
        deploy.run_infra_program(DeployInputs(deployment.workspace, deployment.stack), {})
