"""The verbs on a real node: what works on a Docker engine works there, and what fails is told and taken back."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.e2e.workspace import Ran, Workspace, ended, kill, read_until
from tests.kubernetes.everyday import HERE, NAMESPACE, SERVICES, STACK, image, releases, status, uids
from tests.kubernetes.world import Cluster, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

CRASH = 'raise RuntimeError("no DATABASE_URL")'


def test_what_runs_is_healthy_and_by_digest(workspace: Workspace, cluster: Cluster) -> None:
    rows = status(workspace)
    assert sorted(rows) == SERVICES
    for name, row in rows.items():
        assert (row["state"], row["ready"], row["restarts"], row["drift"]) == ("healthy", "1/1", 0, ""), row
        assert "@sha256:" in image(cluster, name)
        assert row["image"] == f"{image(cluster, name).partition(':sha256')[0]}"[: len(row["image"])]


def test_a_deploy_that_has_nothing_to_do_changes_no_pod(workspace: Workspace, cluster: Cluster) -> None:
    before = uids(cluster)
    assert workspace.invoke("deploy", *HERE).line("✔ Nothing changed")
    assert uids(cluster) == before


def test_a_log_has_the_pods_name_before_each_line_and_as_many_as_asked_for(workspace: Workspace) -> None:
    lines = workspace.invoke("logs", "api", *HERE, "--tail", "2").stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("[pod/api-") for line in lines)


def test_a_log_is_followed_into_new_pods_and_ctrl_c_leaves_no_kubectl(workspace: Workspace, cluster: Cluster) -> None:
    following = workspace.start("logs", "api", *HERE, "--follow", "--tail", "1")
    try:
        first = read_until(following, lambda line: line.startswith("[pod/api-"))
        old = first.split("/")[1]
        cluster.kubectl("rollout", "restart", "deployment/api", "--namespace", NAMESPACE)
        read_until(following, lambda line: line.startswith("[pod/api-") and f"/{old}/" not in line)
        following.send_signal(signal.SIGINT)
        assert ended(following).code == 130
    finally:
        if following.poll() is None:
            kill(following)
    cluster.kubectl("rollout", "undo", "deployment/api", "--namespace", NAMESPACE)
    cluster.kubectl("rollout", "status", "deployment/api", "--namespace", NAMESPACE)
    said = subprocess.run(["pgrep", "--full", f"namespace={NAMESPACE}.*--follow"], capture_output=True, check=False)
    assert said.stdout == b""


def test_a_crash_ends_the_deploy_with_its_reason_and_goes_back_while_the_old_pod_serves(
    workspace: Workspace, cluster: Cluster
) -> None:
    """A broken release on a real cluster: its reason is told, the old pod serves, the service is back at its digest.

    Others change with it: Pulumi's plugin, which watches them all at once, may call a rollout done that has only begun.
    """
    before, served = image(cluster, "api"), uids(cluster, "api")
    live = next(each["id"] for each in releases(workspace) if each["result"] == "live")
    workspace.edit("services/api/app/main.py", "from __future__ import annotations", CRASH)
    workspace.env("web", "LOG_LEVEL", "info")
    workspace.edit("services/worker/service.toml", "[env]\n", '[env]\nLOG_LEVEL = "info"\n')
    failed = workspace.invoke("up", *HERE)
    assert failed.code == 1
    assert "api could not start in staging" in failed.stderr
    assert "no DATABASE_URL" in failed.stderr
    assert "no DATABASE_URL" in failed.log().read_text(encoding="utf-8")
    assert "runs" in failed.stderr and "again, as before" in failed.stderr
    assert image(cluster, "api") == before
    assert uids(cluster, "api") == served
    assert {row["state"] for row in status(workspace).values()} == {"healthy"}
    results = [each["result"] for each in releases(workspace)]
    assert results.count("live") == 1
    assert "failed" in results
    now = next(each for each in releases(workspace) if each["result"] == "live")
    assert now["digests"]["api"] == before
    assert now["id"] != live  # what is put back is a release, so that its digests stay


def test_a_failing_rollout_is_seen_while_it_fails(workspace: Workspace, cluster: Cluster) -> None:
    cluster.kubectl("set", "image", "deployment/api", f"api={image(cluster, 'api')[:-4]}0000", "--namespace", NAMESPACE)
    wait_until(lambda: status(workspace)["api"]["state"] == "failing", "the image cannot be pulled")
    row = status(workspace)["api"]
    assert row["reason"] in ("ImagePullBackOff", "ErrImagePull")
    assert row["ready"] == "1/1"
    assert "was deployed" in row["drift"]


def test_what_was_changed_by_hand_is_drift_and_the_next_deploy_restores_it(
    workspace: Workspace, cluster: Cluster
) -> None:
    cluster.kubectl("scale", "deployment/api", "--replicas=2", "--namespace", NAMESPACE)
    cluster.kubectl("delete", "deployment/worker", "--namespace", NAMESPACE)
    rows = status(workspace)
    assert "scaled to 2, and should be 1" in rows["api"]["drift"]
    assert rows["worker"]["state"] == "missing"
    workspace.up(*HERE)
    rows = status(workspace)
    assert [rows[name]["drift"] for name in SERVICES] == ["", "", ""]
    assert rows["api"]["ready"] == "1/1"


def test_a_release_is_gone_back_to_without_a_build(workspace: Workspace, cluster: Cluster) -> None:
    """Rollback on a real cluster runs the earlier bytes, and no builder is asked."""
    before = image(cluster, "api")
    workspace.edit("services/api/app/main.py", '"""The API', '"""Another API')
    workspace.up(*HERE)
    assert image(cluster, "api") != before
    back = workspace.invoke("rollback", *HERE)
    assert back.code == 0, back.output
    assert image(cluster, "api") == before
    assert not (workspace.root / ".slipway" / "run" / f"deploy-{STACK}").exists()


def test_a_switched_mode_runs_the_same_bytes_and_replaces_no_pod(workspace: Workspace, cluster: Cluster) -> None:
    """Switching the mode replaces no pod: builds inside and outside of Pulumi give the same digests on a cluster."""
    before = uids(cluster)
    said = workspace.invoke("mode", "external", *HERE)
    assert said.code == 0, said.output
    assert workspace.invoke("build").code == 0
    pushed = workspace.invoke("push", *HERE)
    assert pushed.code == 0, pushed.output
    shown = workspace.invoke("mode", "external", *HERE, "--dry")
    assert shown.stdout.count("the same") == len(SERVICES), shown.output
    workspace.up(*HERE)
    assert sorted(locked(workspace)) == sorted(image(cluster, name) for name in SERVICES)
    assert uids(cluster) == before


def locked(workspace: Workspace) -> list[str]:
    """Return what the stack's lock names."""
    found = json.loads((workspace.root / "deploy" / f"{STACK}.lock.json").read_text(encoding="utf-8"))
    return [each["ref"] for each in found["services"].values()]


def test_an_interrupted_deploy_is_taken_up_where_it_was(workspace: Workspace, cluster: Cluster) -> None:
    """A deploy that was killed in the middle of a rollout is finished by the next one."""
    workspace.edit("services/api/app/main.py", '"""The API', '"""A third API')
    deploying = workspace.start("up", *HERE)
    read_until(deploying, lambda line: line.startswith("api") and "rolling out" in line)
    kill(deploying)
    again = workspace.invoke("up", *HERE, "--yes")
    assert again.code == 0, again.output
    assert "interrupted" in again.stdout
    assert status(workspace)["api"]["drift"] == ""


def test_the_first_deploy_that_was_killed_is_taken_up_too(workspace: Workspace, cluster: Cluster) -> None:
    """Even the very first deploy may be killed: the next one takes over the namespace that it made."""
    down = workspace.invoke("down", *HERE, "--yes")
    assert down.code == 0, down.output
    assert cluster.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found") == ""
    assert workspace.invoke("status", *HERE).stdout.startswith("Nothing runs in staging.")
    deploying = workspace.start("up", *HERE)
    read_until(deploying, lambda line: "rolling out" in line)
    time.sleep(0.5)
    kill(deploying)
    again = workspace.invoke("up", *HERE, "--yes")
    assert again.code == 0, again.output
    assert {row["state"] for row in status(workspace).values()} == {"healthy"}


def test_the_inner_loop_is_refused_with_the_remedy(workspace: Workspace) -> None:
    refused = workspace.invoke("dev", *HERE)
    assert refused.code == 2
    assert "works with a Docker engine only" in refused.stderr


def test_a_cluster_that_does_not_answer_is_a_message(workspace: Workspace, tmp_path: Path) -> None:
    file = workspace.root / "infra" / f"Pulumi.{STACK}.yaml"
    path = next(line.split()[1] for line in file.read_text(encoding="utf-8").splitlines() if "kubeconfig" in line)
    away = tmp_path / "kubeconfig"
    known = json.loads(Path(path).read_text(encoding="utf-8"))
    known["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away.write_text(json.dumps(known), encoding="utf-8")
    away.chmod(0o600)
    file.write_text(file.read_text(encoding="utf-8").replace(path, str(away)), encoding="utf-8")
    said: Ran = workspace.invoke("status", *HERE)
    assert said.code == 1
    assert "the cluster of `staging` does not answer" in said.stderr
