"""The rules of infra/policy on the real engine: what they refuse is refused before it is made, by every verb."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel
from tests.e2e.echo import echo
from tests.e2e.workspace import Workspace, bake
from tests.own_python import lend

from infra.policy.__main__ import RULES
from slipway._internal.model import stack as stacks
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.errors import GateRefused
from slipway._internal.run.pulumi import PulumiStack
from slipway._internal.toolchain.install import ensure_tool
from slipway.policy import PolicyContext

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

PROGRAM = "infra/__main__.py"
DIGEST = f"127.0.0.1:5000/shop/api@sha256:{'a' * 64}"


def test_a_limit_that_was_taken_away_is_refused_and_nothing_changes(deployed: Workspace) -> None:
    before, live = deployed.ids(), live_release(deployed)
    deployed.edit("services/worker/service.toml", 'memory = "128m"\n', "")
    for verb in ("preview", "up", "deploy"):
        ran = deployed.invoke(verb)
        assert ran.code == 3, ran.output
        assert "limits-set: worker has no limit of `memory`" in ran.output
        assert 'services/worker/service.toml: [resources] memory = "256m"' in ran.line("  remedy")
        assert "pulumi-analyzer" not in ran.output and "mandatory" not in ran.output
    assert deployed.ids() == before
    assert live_release(deployed) == live
    deployed.edit("services/worker/service.toml", "cpus = 0.5", 'memory = "128m"\ncpus = 0.5')
    again = deployed.up()
    assert not again["changed"], again


def live_release(workspace: Workspace) -> dict[str, Any]:
    """Return the release that runs; a refused one may stand before it, as failed."""
    return next(each for each in workspace.invoke("releases", "--json").json() if each["result"] == "live")


def test_a_container_of_the_teams_own_without_digest_is_refused(deployed: Workspace) -> None:
    before = deployed.ids()
    own = (
        "\n    from slipway.pulumi import Container\n\n"
        '    Container("extra", service="extra", stack=stack.name, workspace=workspace.name, image="nginx:latest",\n'
        f'              network="{deployed.root.name}-dev", memory="64m", cpus=0.5)\n'
    )
    deployed.edit(PROGRAM, '    pulumi.export("images", images)\n', f'{own}    pulumi.export("images", images)\n')
    for verb in ("preview", "up"):
        ran = deployed.invoke(verb)
        assert ran.code == 3, ran.output
        assert "digest-only: extra runs the image nginx:latest" in ran.output
        assert "@sha256:" in ran.line("  remedy")
    assert deployed.ids() == before


def test_an_image_that_a_preview_does_not_know_is_no_violation(deployed: Workspace) -> None:
    deployed.edit("services/api/app/main.py", '"lantern"', f'"lantern {time.time_ns()}"')
    ran = deployed.invoke("preview")
    assert ran.code == 0, ran.output
    assert "docker-build:index:Image" in ran.output


def test_what_a_team_only_advises_is_said_and_refuses_nothing(deployed: Workspace) -> None:
    deployed.edit("infra/policy/__main__.py", "EnforcementLevel.MANDATORY", "EnforcementLevel.ADVISORY")
    deployed.edit("services/worker/service.toml", 'memory = "128m"\n', "")
    ran = deployed.invoke("preview")
    assert ran.code == 0, ran.output
    assert "Advice of limits-set: worker has no limit of `memory`" in ran.output


def test_plain_pulumi_obeys_the_same_rules_when_it_is_given_the_pack(deployed: Workspace) -> None:
    words = ("preview", "--stack", "dev", "--policy-pack", "policy")
    ran = deployed.pulumi(*words)
    assert ran.code == 0, ran.output
    deployed.edit("services/worker/service.toml", 'memory = "128m"\n', "")
    ran = deployed.pulumi(*words)
    assert ran.code != 0
    assert "worker has no limit of `memory`" in ran.output


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that nothing was set up in: a preview of a program needs only its files."""
    return bake(tmp_path_factory.mktemp("policy"), project_slug="policy-e2e")


def security(**more: Any) -> dict[str, Any]:
    return {"allow_privilege_escalation": False, "run_as_non_root": True, **more}


def deployment(name: str, *, image: str = DIGEST, context: Any = None, limits: Any = None, **spec: Any) -> None:
    from pulumi_kubernetes.apps.v1 import Deployment

    labels = {"app.kubernetes.io/name": name}
    container = {
        "name": name,
        "image": image,
        "resources": {"limits": {"memory": "64Mi", "cpu": "500m"} if limits is None else limits},
        "security_context": context or security(),
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}
    Deployment(
        name,
        metadata={"name": name},
        spec={"selector": {"match_labels": labels}, "template": template},  # type: ignore[arg-type]
    )


def service(kind: str) -> None:
    from pulumi_kubernetes.core.v1 import Service

    Service("api", metadata={"name": "api"}, spec={"type": kind, "ports": [{"port": 80}]})  # type: ignore[arg-type]


def route(backend: str) -> None:
    from pulumi_kubernetes.apiextensions import CustomResource

    CustomResource(
        "way-in",
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        spec={"rules": [{"backendRefs": [{"name": backend, "port": 80}]}]},
    )


def ingress(backend: str) -> None:
    from pulumi_kubernetes.networking.v1 import Ingress

    path = {"path": "/", "path_type": "Prefix", "backend": {"service": {"name": backend, "port": {"number": 80}}}}
    Ingress("way-in", spec={"rules": [{"http": {"paths": [path]}}]})  # type: ignore[arg-type,list-item]


def job() -> None:
    from pulumi_kubernetes.batch.v1 import CronJob

    pod = {"containers": [{"name": "nightly", "image": "busybox"}], "restart_policy": "Never"}
    CronJob("nightly", spec={"schedule": "@daily", "job_template": {"spec": {"template": {"spec": pod}}}})  # type: ignore[arg-type,typeddict-item]


REFUSED: list[tuple[Callable[[], None], str]] = [
    (lambda: deployment("api", image="nginx:1"), "digest-only: api runs the image nginx:1"),
    (job, "digest-only: nightly runs the image busybox"),
    (lambda: deployment("api", context=security(privileged=True)), "nothing-privileged: api is privileged"),
    (lambda: deployment("api", host_network=True), "nothing-privileged: api shares the network of its node"),
    (
        lambda: deployment("api", limits={"memory": "64Mi"}),
        "limits-set: the container api of api has no limit of `cpu`",
    ),
    (lambda: service("LoadBalancer"), "exposed-by-route: api is a Service of the type LoadBalancer"),
    (lambda: service("NodePort"), "exposed-by-route: api is a Service of the type NodePort"),
    (lambda: route("worker"), "exposed-by-route: way-in leads to worker, whose service.toml has no such `route`"),
    (lambda: ingress("worker"), "exposed-by-route: way-in leads to worker"),
]


@pytest.mark.parametrize(("program", "told"), REFUSED, ids=[told.split(", ")[0] for _, told in REFUSED])
def test_what_a_cluster_would_be_given_is_refused_before_it_is_made(
    generated: Path, tmp_path: Path, program: Callable[[], None], told: str
) -> None:
    with echo() as (provider, port):
        door = opened(generated, tmp_path, program, port)
        for work in (lambda: door.preview(lambda _event: None), lambda: door.up(lambda _event: None)):
            with pytest.raises(GateRefused) as refused:
                work()
            assert told in f"{refused.value.message}\n{refused.value.detail}"
        assert not provider.created


def test_what_obeys_the_rules_is_made_in_a_cluster(generated: Path, tmp_path: Path) -> None:
    def program() -> None:
        deployment("api")
        service("ClusterIP")
        route("api")

    with echo() as (provider, port):
        assert opened(generated, tmp_path, program, port).up(lambda _event: None).operations["create"] == 4
        assert len(provider.created) == 3


def opened(root: Path, folder: Path, program: Callable[[], None], port: int) -> PulumiStack:
    """Open a door to a stack of its own state, with the rules as the generated workspace judges by them."""
    (folder / "state").mkdir(exist_ok=True)
    return PulumiStack(
        workspaces.load_workspace(root),
        stacks.load(root, "dev", {}),
        program,
        cli=ensure_tool("pulumi"),
        log=folder / "pulumi.log",
        environment={
            "PATH": f"{lend(root).parent}{os.pathsep}{os.environ['PATH']}",  # the engine's programs
            "PULUMI_BACKEND_URL": f"file://{folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "x",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_DEBUG_PROVIDERS": f"kubernetes:{port}",
        },
        policies=lambda: [rule.to_pulumi_policy(PolicyContext(root), EnforcementLevel.MANDATORY) for rule in RULES],
    )
