"""Services come and go by their folders alone, and each stack stands for itself."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.e2e.conftest import NAME, REGISTRY, First
from tests.e2e.workspace import Workspace

from slipway._internal.build.bake_runner import secret_files
from slipway._internal.commands import bake, junit
from slipway._internal.commands.base_images import HARDENED_ONLY
from slipway._internal.content.service_inputs import build_inputs_of
from slipway._internal.context.run_context import current_environment
from slipway._internal.model import bases_lock as locks
from slipway._internal.model import workspace as workspaces
from slipway._internal.run import engine, registry
from slipway._internal.run.process import run
from slipway._internal.scaffold.service_creation import list_kinds
from slipway._internal.toolchain.builder import BUILDER_NAME

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

NEW = {"python-api": "orders", "node-web": "shop", "worker": "clerk"}
OTHERS = {"go-api": "rates", "java-api": "ledger", "static-web": "guide", "ml-inference": "guess", "job": "nightly"}
"""Kinds that the demo has no service of, so that no other test builds or runs them."""
FLOWER = {"sepal_length": 6.3, "sepal_width": 3.3, "petal_length": 6.0, "petal_width": 2.5}


def test_a_new_service_of_each_kind_is_tested_and_deployed_and_leaves_with_its_folder(deployed: Workspace) -> None:
    before = deployed.ids()
    assert set(list_kinds()) == {*NEW, *OTHERS, *HARDENED_ONLY, "ai-gateway"} - {locks.GATEWAY_BASE}, (
        "those that keep data are tested in test_data.py, and the gateway for models in test_ai_gateway.py"
    )
    for kind, name in NEW.items():
        ran = deployed.invoke("new", name, "--kind", kind)
        assert ran.code == 0, ran.output
    assert deployed.git("status", "--porcelain").split() == [
        word for name in sorted(NEW.values()) for word in ("??", f"services/{name}/")
    ]

    tested = deployed.invoke("test", ",".join(NEW.values()))
    assert tested.code == 0, tested.output
    rows = {row["service"]: row for row in deployed.up()["rows"]}
    assert rows["clerk"]["health"] == "healthy"
    assert rows["orders"]["url"] == f"http://127.0.0.1:{deployed.port}/orders"
    assert deployed.get("/orders/items")[0] == 200
    assert deployed.get("/shop")[0] == 200
    after = deployed.ids()
    assert {service: after[service] for service in before} == before
    assert set(after) == {*before, *NEW.values()}

    for name in NEW.values():
        shutil.rmtree(deployed.root / "services" / name)
    deployed.up()
    assert deployed.ids() == before


def test_the_other_kinds_are_tested_served_stopped_and_built_again_to_the_byte(
    deployed: Workspace, first: First, tmp_path: Path
) -> None:
    """Some minutes, most of them for the bases of Go and Java: no other test shows that those kinds work at all."""
    before = set(locks.load(deployed.root).bases)
    for kind, name in OTHERS.items():
        ran = deployed.invoke("new", name, "--kind", kind)
        assert ran.code == 0, ran.output
    tested = deployed.invoke("test", ",".join(OTHERS.values()))
    assert tested.code == 0, tested.output
    for name in OTHERS.values():  # each wrote its own results, and did not only pass
        (report,) = (deployed.root / ".slipway" / "gate" / name).glob("*/junit.xml")
        assert len(junit.parse(report.read_text(encoding="utf-8")).passed) > 5

    rows = {row["service"]: row for row in deployed.up()["rows"]}
    added = set(locks.load(deployed.root).bases) - before
    assert added == {"go-build", "static-run", "java-build", "java-run", "nginx"}
    for name in ("rates", "ledger"):
        assert json.loads(deployed.get(f"/{name}/items")[1])[0]["name"] == "anchor"
    question = urllib.request.Request(
        f"http://127.0.0.1:{deployed.port}/guess/predict",
        data=json.dumps({"flowers": [FLOWER]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(question, timeout=30) as answer:
        assert json.load(answer)["predictions"][0]["species"] == "virginica"
    page = deployed.get("/guide")[1]  # by the redirect to /guide/
    script = re.findall(r'src="(/guide/assets/[^"]+)"', page)[0]
    for path, caching in ((script, "public, max-age=31536000, immutable"), ("/guide/deep/link", "no-cache")):
        with urllib.request.urlopen(f"http://127.0.0.1:{deployed.port}{path}", timeout=30) as answer:
            assert answer.headers["Cache-Control"] == caching
            assert "ETag" not in answer.headers or caching != "no-cache"

    client = engine.client()
    for name, summary in deployed.containers().items():
        if name in OTHERS.values():
            container = client.containers.get(summary.id)
            container.stop(timeout=10)
            container.reload()
            assert container.attrs["State"]["ExitCode"] == 0, name
    api = f"http://gateway:8080{rows['api']['url'].partition(str(deployed.port))[2]}"
    said = client.containers.run(
        f"{REGISTRY}/{NAME}/nightly@{rows['nightly']['digest']}",
        network=f"{NAME}-dev", environment={"API_URL": api}, read_only=True, tmpfs={"/tmp": ""}, cap_drop=["ALL"],
        remove=True,
    )  # fmt: skip
    assert json.loads(said)["message"] == "reported"
    assert built_again(deployed, tmp_path, OTHERS.values()) == {name: rows[name]["digest"] for name in OTHERS.values()}

    for name in OTHERS.values():
        shutil.rmtree(deployed.root / "services" / name)
    deployed.restore()
    deployed.up()
    first.ids = deployed.ids()


def built_again(deployed: Workspace, folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the digests of services' images that are built without a cache."""
    workspace = workspaces.load_workspace(deployed.root)
    context = current_environment(workspace)
    bases = locks.load(deployed.root).bases
    refs = {name: f"{REGISTRY}/{NAME}-again/{name}:again" for name in names}
    with secret_files(context) as secrets:
        targets = [
            bake.BakeTarget(name, build_inputs_of(workspace, workspace.service(name), bases), (ref,), secrets)
            for name, ref in refs.items()
        ]
        file = folder / "bake.json"
        file.write_text(json.dumps(bake.make_definition(targets, "registry", folder)), encoding="utf-8")
        argv = bake.argv(context.bin / "docker-buildx", file, BUILDER_NAME, targets, progress="plain")
        result = run([*argv, "--no-cache"], cwd=deployed.root, env=context.environment)
    assert result.code == 0, result.tail(40)
    digests = registry.resolve_digests(refs.values(), workspace)
    return {name: str(digests[ref]) for name, ref in refs.items()}


@pytest.mark.parametrize("name", ["api", "Orders", "or_ders", "-x", "gateway", "../x", "o" * 41, ""])
def test_a_name_that_cannot_be_used_is_refused(workspace: Workspace, name: str) -> None:
    ran = workspace.invoke("new", f"--name={name}")
    assert ran.code == 2, ran.output
    assert "remedy" in ran.output
    assert workspace.git("status", "--porcelain") == ""


def test_an_unknown_kind_is_refused_with_those_that_there_are(workspace: Workspace) -> None:
    ran = workspace.invoke("new", "orders", "--kind", "cobol")
    assert ran.code == 2, ran.output
    assert all(kind in ran.output for kind in list_kinds())


def test_a_second_stack_runs_beside_the_first_and_down_removes_all_of_it_and_no_more(deployed: Workspace) -> None:
    before = deployed.ids()
    said = deployed.up("--stack", "staging", SLIPWAY_IMAGES="inline")
    assert all(f":{deployed.port + 1}/" in row["url"] for row in said["rows"] if row["url"])
    assert set(deployed.containers("staging")) == set(before)

    dry = deployed.invoke("down", "--stack", "staging", "--dry")
    assert dry.code == 0, dry.output
    assert set(deployed.containers("staging")) == set(before)

    ran = deployed.invoke("down", "--stack", "staging", "--yes")
    assert ran.code == 0, ran.output
    assert deployed.containers("staging") == {}
    names = [network["Name"] for network in engine.client().api.networks()]
    assert f"{NAME}-dev" in names and f"{NAME}-staging" not in names
    assert deployed.ids() == before
    again = deployed.invoke("down", "--stack", "staging", "--yes")
    assert again.code == 0 and "nothing was running" in again.output
