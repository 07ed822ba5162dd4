"""A stack on a cluster: its status, its drift, failed rollouts, and its removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.targets.cluster import (
    SCALED,
    STACK,
    Cluster,
    crashing,
    deployment,
    meta,
    pod,
    read,
    ref,
    service,
    waiting,
    workspace,
)

from slipway._internal.context.reporter import NullReporter
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import JobSettings, Service
from slipway._internal.run.cluster import Forbidden
from slipway._internal.run.kubernetes_objects import Event, Namespace, NamespaceStatus, ObjectMeta
from slipway._internal.targets.kubernetes import observation
from slipway._internal.targets.kubernetes.observation import DRIFT_UNKNOWN, KubernetesServiceStatus, KubernetesTarget

LIVE = {"api": ref("a")}
PULUMI = SlipwayError("api (kubernetes:apps/v1:Deployment) failed")


def make_target(tmp_path: Path, *items: dict[str, Any], services: tuple[Service, ...] = ()) -> KubernetesTarget:
    return KubernetesTarget(workspace(tmp_path, *services), STACK, Cluster(read(*items)))  # type: ignore[arg-type]


class RecordingReporter(NullReporter):
    """Records what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, words: str) -> None:
        self.said.append(words)


def only(target: KubernetesTarget) -> KubernetesServiceStatus:
    (row,) = target.status(lambda: LIVE)
    return row


def test_nothing_is_there_where_nothing_was_deployed(tmp_path: Path) -> None:
    assert make_target(tmp_path).status(lambda: LIVE) == []


def test_a_service_whose_pods_are_all_ready_is_healthy(tmp_path: Path) -> None:
    row = only(make_target(tmp_path, deployment(replicas=1), pod("api-1")))
    assert (row.state, row.ready, row.restarts, row.reason, row.drift) == ("healthy", "1/1", 0, "", "")
    assert row.image == f"127.0.0.1:5000/shop/release/api@sha256:{'a' * 12}"
    assert row.cells[1:4] == ("[green]healthy[/]", "1/1", "0")


def test_a_failing_service_has_the_reason_and_its_restarts(tmp_path: Path) -> None:
    row = only(make_target(tmp_path, deployment(readyReplicas=0), crashing("api-1")))
    assert (row.state, row.ready, row.restarts, row.reason) == ("failing", "0/1", 3, "CrashLoopBackOff")
    assert row.cells[1] == "[red]failing[/] (CrashLoopBackOff)"
    assert row.as_dict()["message"] == "exit code 1, 3 restarts"


def test_a_rollout_under_way_is_starting(tmp_path: Path) -> None:
    assert (
        only(make_target(tmp_path, deployment(readyReplicas=0), waiting("api-1", "ContainerCreating"))).state
        == "starting"
    )


def test_a_service_that_is_not_there_is_missing_and_one_that_is_no_service_any_more_is_told(tmp_path: Path) -> None:
    missing, old = make_target(tmp_path, deployment("old"), pod("old-1", "old")).status(lambda: LIVE)
    assert (missing.service, missing.state) == ("api", "missing")
    assert (old.service, old.drift) == ("old", "no such service any more")


def test_another_image_than_the_live_releases_is_drift(tmp_path: Path) -> None:
    row = only(make_target(tmp_path, deployment(letter="b"), pod("api-1")))
    assert row.drift == f"{'a' * 12} was deployed: `invoke deploy --stack staging` restores it"


@pytest.mark.parametrize(
    ("replicas", "scaled", "drift"),
    [(1, False, ""), (4, False, "scaled to 4, and should be 1"), (3, True, ""), (4, True, "should be 1 to 3")],
)
def test_as_many_as_the_settings_allow_are_no_drift(tmp_path: Path, replicas: int, scaled: bool, drift: str) -> None:
    services = (service("api", scale=SCALED),) if scaled else (service("api"),)
    row = only(make_target(tmp_path, deployment(replicas=replicas), services=services))
    assert drift in row.drift
    assert bool(drift) == bool(row.drift)


def test_a_paused_rollout_is_drift(tmp_path: Path) -> None:
    paused = deployment()
    paused["spec"]["paused"] = True
    assert "paused" in only(make_target(tmp_path, paused)).drift


def test_a_state_that_cannot_be_read_is_said_and_not_taken_for_no_drift(tmp_path: Path) -> None:
    (row,) = make_target(tmp_path, deployment()).status(lambda: None)
    assert row.drift == DRIFT_UNKNOWN


def test_a_release_command_is_no_part_of_its_service(tmp_path: Path) -> None:
    command = crashing("api-release-1")
    command["metadata"]["labels"]["slipway.release"] = "true"
    target = make_target(tmp_path, deployment(), pod("api-1"), command)
    assert (only(target).state, only(target).restarts) == ("healthy", 0)
    assert [each.metadata.name for each in target.take_snapshot().pods["api"]] == ["api-1"]


def cron(service: str = "report", **spec: Any) -> dict[str, Any]:
    template = {"spec": {"template": {"spec": {"containers": [{"name": service, "image": ref("a", service)}]}}}}
    return {
        "kind": "CronJob",
        "metadata": meta(service, service),
        "spec": {"schedule": "0 3 * * *", "jobTemplate": template, **spec},
        "status": {"lastScheduleTime": "2026-03-01T03:00:00Z"},
    }


def run(name: str, ended: str, created: str) -> dict[str, Any]:
    conditions = [{"type": ended, "status": "True"}] if ended else []
    return {
        "kind": "Job",
        "metadata": meta(name, "report", creationTimestamp=created),
        "status": {"conditions": conditions},
    }


@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        ("Complete", "scheduled", "the last run succeeded"),
        ("Failed", "failing", "the last run failed"),
        ("", "scheduled", "the last run runs"),
    ],
)
def test_a_jobs_line_tells_its_last_run(tmp_path: Path, ended: str, state: str, reason: str) -> None:
    services = (service("report", job=JobSettings(schedule="0 3 * * *")),)
    items = [
        cron(),
        run("report-2", ended, "2026-03-01T03:00:00Z"),
        run("report-1", "Failed", "2026-02-28T03:00:00Z"),
    ]
    row = only(make_target(tmp_path, *items, services=services))
    assert (row.state, row.reason, row.ready) == (state, reason, "-")
    assert row.since != "never"


def test_health_is_asked_for_some_services_and_only_then(tmp_path: Path) -> None:
    cluster_target = make_target(
        tmp_path, deployment(), pod("api-1"), deployment("worker", readyReplicas=0), crashing("w", "worker")
    )
    assert cluster_target.service_health([]) == {}
    assert cluster_target.service_health(["api", "worker", "other"]) == {
        "api": "healthy",
        "worker": "failing: CrashLoopBackOff",
        "other": "missing",
    }


def test_what_was_changed_by_hand_or_removed_has_to_be_read_anew(tmp_path: Path) -> None:
    services = (service("api"), service("web"), service("new"))
    cluster_target = make_target(tmp_path, deployment(replicas=5), services=services)
    assert cluster_target.drifted_services(lambda: {"api": ref("a"), "web": ref("a", "web")}) == ["api", "web"]
    assert cluster_target.drifted_services(dict) == []


class RecordingRedeploy:
    """Records the images that are deployed again."""

    def __init__(self, error: SlipwayError | None = None) -> None:
        self.images: dict[str, str] = {}
        self._error = error

    def __call__(self, images: Mapping[str, str]) -> None:
        self.images.update(images)
        if self._error:
            raise self._error


def test_a_failed_rollout_is_told_with_events_and_the_crashed_runs_lines_and_goes_back(tmp_path: Path) -> None:
    cluster_target = make_target(tmp_path, deployment(letter="b", readyReplicas=0), pod("api-old"), crashing("api-z"))
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.pod_events["api-z"] = [
        Event(type="Normal", reason="Pulled", message="Container image pulled"),
        Event(type="Warning", reason="BackOff", message="Back-off restarting failed container"),
    ]
    cluster_target.cluster.logged["api-z", False] = [f"line {number}" for number in range(30)] + [
        "ValueError: no DATABASE"
    ]
    cluster_target.cluster.logged["api-z", True] = ["unable to retrieve container logs for containerd://1"]
    back = RecordingRedeploy()
    error = cluster_target.explain_failure(PULUMI, ["api"], lambda: LIVE, back)
    assert error.message == (
        "api could not start in staging: its container exits right after it starts (CrashLoopBackOff)"
    )
    assert "event BackOff: Back-off restarting" in error.detail
    assert "Pulled" not in error.detail
    assert "ValueError: no DATABASE" in error.detail
    assert "line 0" not in error.detail
    assert f"api runs {'a' * 12} again, as before." in error.detail
    assert error.remedy == "Fix the error in its last log lines."
    assert error.log
    assert error.log.read_text(encoding="utf-8").startswith("line 0\n")
    assert back.images == LIVE
    assert error.exit_code == 1


def test_of_a_container_that_runs_again_the_lines_of_the_run_before_are_shown(tmp_path: Path) -> None:
    again = {
        "name": "api",
        "restartCount": 2,
        "ready": False,
        "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }
    cluster_target = make_target(
        tmp_path, deployment(letter="b", readyReplicas=0), pod("api-1", containerStatuses=[again])
    )
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.logged = {("api-1", True): ["ValueError: no DATABASE"], ("api-1", False): ["starting"]}
    error = cluster_target.explain_failure(PULUMI, ["api"], dict, RecordingRedeploy())
    assert "ValueError: no DATABASE" in error.detail
    assert "starting" not in error.detail


def test_an_image_that_cannot_be_pulled_is_told_with_its_event(tmp_path: Path) -> None:
    cluster_target = make_target(
        tmp_path, deployment(letter="b", updatedReplicas=0), waiting("api-2", "ImagePullBackOff")
    )
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.pod_events["api-2"] = [Event(type="Warning", reason="Failed", message="not found")]
    error = cluster_target.explain_failure(PULUMI, ["api"], lambda: LIVE, RecordingRedeploy())
    assert "its image cannot be pulled (ImagePullBackOff)" in error.message
    assert "event Failed: not found" in error.detail
    assert "registry" in error.remedy


def test_where_only_settings_changed_nothing_goes_back(tmp_path: Path) -> None:
    back = RecordingRedeploy()
    error = make_target(tmp_path, deployment(readyReplicas=0), crashing("api-1")).explain_failure(
        PULUMI, ["api"], lambda: LIVE, back
    )
    assert "Only the settings of api changed: its old pods still serve." in error.detail
    assert not back.images


def test_what_was_never_live_stays_as_it_is(tmp_path: Path) -> None:
    back = RecordingRedeploy()
    error = make_target(tmp_path, deployment(readyReplicas=0), crashing("api-1")).explain_failure(
        PULUMI, ["api"], dict, back
    )
    assert "never live here" in error.detail
    assert not back.images


def test_a_way_back_that_fails_does_not_hide_why_it_was_needed(tmp_path: Path) -> None:
    cluster_target = make_target(tmp_path, deployment(letter="b", readyReplicas=0), crashing("api-1"))
    error = cluster_target.explain_failure(
        PULUMI, ["api"], lambda: LIVE, RecordingRedeploy(SlipwayError("the cluster does not answer"))
    )
    assert "CrashLoopBackOff" in error.message
    assert "api could not be rolled back: the cluster does not answer" in error.detail


def test_an_error_that_is_no_rollouts_stays_as_it_is(tmp_path: Path) -> None:
    cluster_target = make_target(tmp_path, deployment(), pod("api-1"))
    assert cluster_target.explain_failure(PULUMI, [], lambda: LIVE, RecordingRedeploy()) is PULUMI
    assert cluster_target.explain_failure(PULUMI, ["api"], lambda: LIVE, RecordingRedeploy()) is PULUMI


def namespace(*, going: bool) -> Namespace:
    waits = read(
        {
            "kind": "Namespace",
            "metadata": {"name": "shop-staging", "deletionTimestamp": "2026-03-01T12:00:00Z" if going else None},
            "status": {
                "conditions": [
                    {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "held by example.com/x in 1"}
                ]
            },
        }
    )[0]
    assert isinstance(waits, Namespace)
    return waits


def test_down_waits_until_the_namespace_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation.time, "sleep", lambda _seconds: None)
    cluster_target = make_target(tmp_path)
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.namespaces = [namespace(going=True), namespace(going=True), None]
    cluster_target.wait_deleted(NullReporter())
    assert cluster_target.cluster.namespaces == [None]


def test_a_namespace_that_is_somebody_elses_stays(tmp_path: Path) -> None:
    cluster_target = make_target(tmp_path)
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.namespaces = [Namespace(ObjectMeta("shop-staging"), NamespaceStatus()), None]
    cluster_target.wait_deleted(NullReporter())
    assert cluster_target.cluster.namespaces == [None], "it was asked for once, and nothing was waited for"


def test_a_namespace_that_does_not_go_is_told_with_what_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "NAMESPACE_DELETE_SECONDS", -1.0)
    cluster_target = make_target(tmp_path)
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.namespaces = [namespace(going=True)]
    with pytest.raises(SlipwayError, match="shop-staging is still being deleted") as caught:
        cluster_target.wait_deleted(NullReporter())
    assert "example.com/x" in caught.value.detail


def test_whoever_may_not_see_the_namespace_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_words: object) -> None:
        raise Forbidden("no")

    cluster_target = make_target(tmp_path)
    report = RecordingReporter()
    monkeypatch.setattr(cluster_target.cluster, "find_object", forbid)
    cluster_target.wait_deleted(report)
    assert report.said == ["This login may not see whether the namespace shop-staging is gone."]


OWN = {"app.kubernetes.io/part-of": "shop", "slipway.stack": "staging"}


def test_a_namespace_that_the_stack_has_not_made_is_refused(tmp_path: Path) -> None:
    cluster_target = make_target(tmp_path)
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.namespaces = [Namespace(ObjectMeta("shop-staging"))]
    with pytest.raises(ConfigError, match="shop-staging already exists, and `staging` did not create it") as refused:
        cluster_target.refuse_foreign_objects(tuple)
    assert "slipway:namespace in Pulumi.staging.yaml" in refused.value.remedy
    assert "kubectl delete namespace shop-staging" in refused.value.remedy


def test_so_is_one_of_its_gateway(tmp_path: Path) -> None:
    cluster_target = replace(make_target(tmp_path), stack=replace(STACK, gateway="envoy"))
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.namespaces = [
        Namespace(ObjectMeta("shop-staging", labels=OWN)),
        Namespace(ObjectMeta("shop-staging-gateway")),
    ]
    with pytest.raises(ConfigError, match="shop-staging-gateway already exists"):
        cluster_target.refuse_foreign_objects(tuple)


def test_one_that_the_state_knows_or_an_earlier_version_made_or_nobody_may_see_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_target = make_target(tmp_path)
    assert isinstance(cluster_target.cluster, Cluster)
    asked: list[str] = []

    def known() -> list[str]:
        asked.append("the state")
        return ["shop-staging"]

    cluster_target.cluster.namespaces = [Namespace(ObjectMeta("shop-staging"))]
    cluster_target.refuse_foreign_objects(known)
    assert asked == ["the state"]
    for namespace in (Namespace(ObjectMeta("shop-staging", labels=OWN)), None):
        cluster_target.cluster.namespaces = [namespace]
        cluster_target.refuse_foreign_objects(known)

    def forbid(*_words: object) -> None:
        raise Forbidden("no")

    monkeypatch.setattr(cluster_target.cluster, "find_object", forbid)
    cluster_target.refuse_foreign_objects(known)
    assert asked == ["the state"]


@pytest.mark.parametrize(
    ("labels", "taken"),
    [
        (OWN, True),
        ({"app.kubernetes.io/part-of": "shop", "slipway.stack": "prod"}, False),
        ({}, False),
    ],
)
def test_what_exists_is_taken_over_in_the_stacks_own_namespace_only(
    tmp_path: Path, labels: dict[str, str], taken: bool
) -> None:
    cluster_target = make_target(tmp_path)
    assert isinstance(cluster_target.cluster, Cluster)
    cluster_target.cluster.namespaces = [Namespace(ObjectMeta("shop-staging", labels=labels))]
    assert cluster_target.may_adopt_existing() is taken


def test_the_gateways_log_is_the_clusters_own_business(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="belongs to the cluster"):
        list(make_target(tmp_path, deployment()).logs("gateway", follow=False, tail=5))


def test_what_runs_is_known_by_digest(tmp_path: Path) -> None:
    cluster_target = make_target(tmp_path, deployment(), cron())
    assert cluster_target.running_digests() == {"api": f"sha256:{'a' * 64}", "report": f"sha256:{'a' * 64}"}
    assert cluster_target.running_images() == [("api", ref("a")), ("report", ref("a", "report"))]


def test_what_pulumi_calls_done_too_early_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster_target = make_target(tmp_path, deployment(updatedReplicas=0))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        monkeypatch.setattr(cluster_target.cluster, "items", read(deployment()))

    monkeypatch.setattr(observation.time, "sleep", wait)
    assert cluster_target.unfinished_rollouts() == []
    assert len(waits) == 1


def test_a_rollout_that_has_failed_after_all_is_named_and_one_that_is_no_service_any_more_is_not(
    tmp_path: Path,
) -> None:
    late = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    cluster_target = make_target(tmp_path, deployment(conditions=late), deployment("gone", conditions=late))
    assert cluster_target.unfinished_rollouts() == ["api"]


def test_a_rollout_that_is_under_way_for_ever_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "ROLLOUT_SECONDS", -1.0)
    assert make_target(tmp_path, deployment(updatedReplicas=0)).unfinished_rollouts() == ["api"]
