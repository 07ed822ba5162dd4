"""A user's command on a real cluster: in a pod of a service (`exec`), and in one of its own like it (`run`).

With them, what the target gives to a pod that nobody else looks at from within: its secrets.
"""

from __future__ import annotations

import base64
import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.e2e.workspace import UP_SECONDS, Workspace, wait_until
from tests.kubernetes.everyday import HERE, NAME, NAMESPACE, STACK, status
from tests.kubernetes.world import Cluster

from slipway._internal.model.project import Project
from slipway._internal.run.state import local_state_folder, state_file

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

SECRET = "sentinel-of-the-cluster-4711"
SHOW = "import os, sys; print(open('/run/secrets/API_TOKEN').read(), os.environ['ROUTE'], sys.argv[1:])"
ASK = "import os, urllib.request as r; print(r.urlopen(os.environ['API_URL'] + '/items').status)"


@pytest.fixture(scope="module")
def with_secret(live: Workspace) -> Iterator[Workspace]:
    """The workspace whose API has a secret."""
    live.edit("services/api/service.toml", '# secrets = ["API_TOKEN"]', 'secrets = ["API_TOKEN"]')
    ran = live.pulumi("config", "set", "--secret", *HERE, "api:API_TOKEN", stdin=SECRET)
    assert ran.code == 0, ran.output
    live.up(*HERE)
    yield live
    live.restore()
    live.up(*HERE, "--yes")


def command_pods(cluster: Cluster) -> list[str]:
    """Return the pods of commands that are not being ended."""
    return [each["metadata"]["name"] for each in cluster.pods(NAMESPACE, "slipway.command")]


@pytest.mark.parametrize("verb", ["exec", "run"])
def test_a_command_has_the_services_secrets_and_settings(with_secret: Workspace, cluster: Cluster, verb: str) -> None:
    ran = with_secret.invoke(verb, "api", *HERE, "--", "python", "-c", SHOW, "two  words")
    assert (ran.code, ran.stdout) == (0, f"{SECRET} /api ['two  words']\n"), ran.output
    wait_until(lambda: command_pods(cluster) == [], "nothing of it is left")


def test_the_secret_is_plain_neither_in_the_state_nor_in_the_pods_definition(
    with_secret: Workspace, cluster: Cluster
) -> None:
    state = state_file(local_state_folder(Project(with_secret.root)), NAME, STACK).read_text(encoding="utf-8")
    said = cluster.kubectl("get", "pods,deployments,configmaps", "--namespace", NAMESPACE, "--output", "json")
    for text in (SECRET, base64.b64encode(SECRET.encode()).decode()):
        assert text not in state
        assert text not in said


@pytest.mark.parametrize("verb", ["exec", "run"])
def test_its_exit_code_is_the_commands(workspace: Workspace, verb: str) -> None:
    assert workspace.invoke(verb, "worker", *HERE, "--", "python", "-c", "raise SystemExit(7)").code == 7


def test_a_command_beside_a_service_reaches_what_it_may_and_gets_no_requests(
    workspace: Workspace, cluster: Cluster
) -> None:
    """It has the labels that network policies go by, and yet no Service sends it anything; Ctrl-C removes it."""
    ran = workspace.invoke("run", "worker", *HERE, "--", "python", "-c", ASK)
    assert (ran.code, ran.stdout) == (0, "200\n"), ran.output
    child = workspace.start("run", "api", *HERE, "--", "python", "-c", "import time; time.sleep(600)")
    try:
        wait_until(lambda: phases(cluster) == ["Running"], "the command runs")
        slices = cluster.get("endpointslices", "--namespace", NAMESPACE, "-l", "kubernetes.io/service-name=api")
        serving = {
            each["targetRef"]["name"]
            for item in slices["items"]
            for each in item["endpoints"]
            if each["conditions"]["ready"]
        }
        assert serving and serving.isdisjoint(command_pods(cluster))
        assert status(workspace)["api"]["ready"] == "1/1"
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=UP_SECONDS)
        assert child.returncode == 130
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    wait_until(lambda: command_pods(cluster) == [], "the pod is gone")
    said = subprocess.run(
        ["pgrep", "--full", f"namespace={NAMESPACE}.*attach api-run"], capture_output=True, check=False
    )
    assert said.stdout == b""


def test_all_that_a_command_writes_comes_from_its_first_line_on_and_it_reads_a_pipe(workspace: Workspace) -> None:
    """What was written before anybody listened, too; and the end of the input reaches it."""
    echo = "import sys; print('first', flush=True); print(sys.stdin.read().upper()); print('last')"
    ran = workspace.piped("run", "api", *HERE, "--", "python", "-c", echo, stdin="hello")
    assert (ran.code, ran.stdout) == (0, "first\nHELLO\nlast\n"), ran.stderr


def phases(cluster: Cluster) -> list[str]:
    return [each["status"]["phase"] for each in cluster.pods(NAMESPACE, "slipway.command")]


CHANGES = ["RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite"]
RULES = """
[[routes]]
path = "/api"
methods = ["GET", "POST"]
strip = true
timeout = 30
request-headers = { set = { X-Tier = "gold" }, remove = ["Cookie"] }
response-headers = { remove = ["X-Powered-By"] }
[[routes]]
path = "/old"
redirect = { host = "www.example", path = "/new", status = 301 }
"""


def test_routes_of_the_gateway_api_are_made_and_go_again(workspace: Workspace, cluster: Cluster) -> None:
    """A stack with a Gateway's class has a Gateway and a route for each service that has one, with all of its rules."""
    service = workspace.root / "services" / "api" / "service.toml"
    before = service.read_text(encoding="utf-8")
    assert 'route = "/api"\n' in before
    service.write_text(before.replace('route = "/api"\n', "") + RULES, encoding="utf-8")
    file = workspace.root / "infra" / f"Pulumi.{STACK}.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"{text}  slipway:gateway: slipway-test\n  slipway:host: demo.example\n", encoding="utf-8")
    ran = workspace.invoke("up", *HERE)  # which fails: nothing here answers at the host's name
    assert "staging is deployed" in ran.output and "http://demo.example/api" in ran.output, ran.output
    routes = cluster.get("httproutes", "--namespace", NAMESPACE)["items"]
    assert sorted(each["metadata"]["name"] for each in routes) == ["api", "web"]
    assert {host for each in routes for host in each["spec"]["hostnames"]} == {"demo.example"}
    rules = next(each["spec"]["rules"] for each in routes if each["metadata"]["name"] == "api")
    assert [[each["type"] for each in rule["filters"]] for rule in rules] == [*2 * [CHANGES], ["RequestRedirect"]]
    gateways = cluster.get("gateways", "--all-namespaces")["items"]
    assert [each["spec"]["gatewayClassName"] for each in gateways] == ["slipway-test"]
    file.write_text(text, encoding="utf-8")
    service.write_text(before, encoding="utf-8")
    workspace.up(*HERE, "--yes")
    assert cluster.get("httproutes", "--all-namespaces")["items"] == []
