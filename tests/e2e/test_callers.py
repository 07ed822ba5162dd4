"""A caller gets a key, changes it without a gap and loses it; his key stands nowhere."""

from __future__ import annotations

import http.client
import json
from hashlib import sha256

import pytest
from tests.e2e.callers import calling
from tests.e2e.conftest import NAME
from tests.e2e.test_secrets import files, inspected, watched_arguments
from tests.e2e.workspace import Workspace

from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.model.project import Project
from slipway._internal.rollout import container_files
from slipway._internal.run import engine
from slipway._internal.run.state import local_state_folder, state_file

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]


def status(workspace: Workspace, key: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", workspace.port, timeout=30)
    connection.request("GET", "/api/info", headers={"X-Api-Key": key} if key else {})
    return connection.getresponse().status


def consumer(workspace: Workspace, *words: str) -> str:
    ran = workspace.invoke("consumer", *words, "--stack", "dev")
    assert ran.code == 0, ran.output
    return ran.stdout.strip()


def test_a_key_is_given_changed_without_a_gap_and_taken_away(deployed: Workspace) -> None:
    deployed.edit("services/api/service.toml", 'route = "/api"\n', "")
    with (deployed.root / "services" / "api" / "service.toml").open("a") as file:
        file.write('\n[[routes]]\npath = "/api"\nauth = {keys = true}\n')
    with (deployed.root / "workspace.toml").open("a") as file:
        file.write("\n[consumers.shop]\n")
    gateway = deployed.ids()["gateway"]

    with watched_arguments() as arguments:
        first = consumer(deployed, "add", "shop")
        assert first.startswith("slw_") and "\n" not in first
        assert status(deployed, first) == 200, "until the next deploy everybody may call"
        up = deployed.invoke("up")
        assert up.code == 0, up.output
    assert (status(deployed), status(deployed, f"{first}x"), status(deployed, first)) == (401, 401, 200)
    assert deployed.get("/")[0] == 200

    second = consumer(deployed, "rotate", "shop")
    assert status(deployed, second) == 401
    with calling(deployed.port, "/api/info", headers={"X-Api-Key": first}) as seen:
        deployed.up()
    assert seen.failures == [] and seen.answers
    assert (status(deployed, first), status(deployed, second)) == (200, 200)
    assert consumer(deployed, "rotate", "shop", "--finish") == ""
    with calling(deployed.port, "/api/info", headers={"X-Api-Key": second}) as seen:
        deployed.up()
    assert seen.failures == [] and seen.answers
    assert (status(deployed, first), status(deployed, second)) == (401, 200)
    listed = json.loads(consumer(deployed, "list", "--json"))
    assert [(each["name"], len(each["keys"])) for each in listed] == [("shop", 1)]

    sentinels = [text.encode() for key in (first, second) for text in (key, key.removeprefix("slw_"))]
    state = state_file(local_state_folder(Project(deployed.root)), NAME, "dev").read_bytes()
    container = engine.client().containers.get(gateway)
    places = {
        "arguments of processes": [("", "\n".join(sorted(arguments)).encode())],
        "the output": [("", up.output.encode())],
        "the workspace's files": files(deployed.root),
        "the engine's words": inspected(deployed),
        "the state": [("", state)],
        "the gateway's files": [
            (name, text.encode()) for name, text in container_files.read_folder(container, CONFIG_DIR).items()
        ],
        "logs": [(name, "\n".join(engine.read_logs(each.id)).encode()) for name, each in deployed.containers().items()],
    }
    for place, texts in places.items():
        seen = 0
        for name, data in texts:
            seen += len(data)
            assert not [sentinel for sentinel in sentinels if sentinel in data], f"{place}: {name}"
        assert seen, f"nothing was looked at in {place}"
    hashes = [sha256(key.encode()).hexdigest().encode() for key in (first, second)]
    assert not [digest for digest in hashes if digest in state], "what the state has of keys is encrypted"

    consumer(deployed, "remove", "shop")
    deployed.up()
    assert status(deployed, second) == 401
    assert deployed.ids()["gateway"] == gateway, "the gateway's container stayed"
