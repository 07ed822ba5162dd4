"""The provider for real: rollouts that drop nothing, failures that leave nothing, and drift that is seen."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.callers import calling
from tests.e2e.provider_world import SECRET, Images, World, free_port, images, wait
from tests.e2e.workspace import bake
from tests.own_python import made_for

from slipway._internal.commands import envoy_routes
from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.model.consumer_keys import hash_key, new_key
from slipway._internal.rollout import container_files, gateway, sockets
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import remove_leftovers
from slipway._internal.run.owner import OWNER_LABEL, DeployedObject
from slipway._internal.run.process import run
from slipway._internal.toolchain import docker_daemon as daemon
from slipway._internal.toolchain.install import ensure_tool

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]


def anyones(_thing: DeployedObject) -> bool:
    """Let go whoever's it is: the names are this test's own."""
    return True


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, machine: None) -> Iterator[Images]:
    """The images, in a registry of this module's own."""
    daemon.ensure_engine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("daemons")))
        with images(tmp_path_factory.mktemp("images")) as both:
            yield both


@pytest.fixture(scope="module")
def deployed(built: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack that is deployed once, and removed at the end with all that is its own."""
    world = World(built, tmp_path_factory.mktemp("state"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_BACKEND_URL", "")  # put back at the end: each stack sets its own
        patch.setenv("SLIPWAY_LOGS", str(world.folder / "logs"))
        world.up()
        yield world
        world.stack().destroy()
        remove_leftovers(world.name, "dev", [], anyones)
    assert not world.containers() and not world.volumes()
    assert f"{world.name}-dev" not in run(["docker", "network", "ls", "--format", "{{.Name}}"]).output


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    """The stack as it should be: healthy, on a version of its own."""
    deployed.version, deployed.fails, deployed.options, deployed.env = f"v{time.monotonic_ns()}", "", {}, {}
    yield deployed
    deployed.fails, deployed.options, deployed.env = "", {}, {}
    deployed.rules, deployed.keys = {}, []


@pytest.fixture
def steady(world: World) -> World:
    """The stack with nothing left to change."""
    world.up()
    return world


def test_services_answer_at_their_routes_with_the_path_as_it_came(steady: World) -> None:
    assert steady.get("/one")[1].startswith(f"{steady.version} GET /one ")
    assert steady.get("/one/a%2Fb?c=d")[1].startswith(f"{steady.version} GET /one/a%2Fb?c=d ")
    assert " POST /one/x " in steady.get("/one/x", "POST")[1]
    assert "/onex" in steady.get("/onex")[1]
    assert steady.get("/.slipway/health") == (200, '{"status": "ok"}\n')


def test_secrets_are_files_of_the_service_and_nowhere_else(steady: World) -> None:
    assert f"secret={len(SECRET)} mode=-r--------" in steady.get("/one")[1]
    assert SECRET not in run(["docker", "inspect", *(each.id for each in steady.containers())]).output
    steady.stack().refresh(color="never")
    state = "".join(path.read_text() for path in (steady.folder / ".pulumi").rglob("*.json"))
    assert '"ciphertext"' in state
    assert SECRET not in state


def test_a_callers_key_is_changed_without_a_gap_and_only_its_hash_is_known(steady: World) -> None:
    """It is asked all the time, with the key that holds before a change and after it."""
    before = {each.id for each in steady.containers()}
    first, second = new_key(), new_key()
    steady.rules, steady.keys = {"auth": {"keys": True}}, [hash_key(first)]
    assert steady.up() == {"update": 1}
    status = [steady.get("/one", **{"X-Api-Key": key} if key else {})[0] for key in ("", first, second)]
    assert status == [401, 200, 401]
    assert steady.get("/two")[0] == 200
    for key, keys in ((first, [first, second]), (second, [second])):
        steady.keys = [hash_key(one) for one in keys]
        with calling(steady.port, "/one", headers={"X-Api-Key": key}) as seen:
            assert steady.up() == {"update": 1}
        assert seen.failures == [] and len(seen.answers) > 20
    assert steady.get("/one", **{"X-Api-Key": first})[0] == 401
    assert steady.up() == {}
    gateway = next(each for each in steady.containers() if each.service == "gateway")
    state = "".join(path.read_text() for path in (steady.folder / ".pulumi").rglob("*.json"))
    told = run(["docker", "logs", gateway.id]).output + run(["docker", "inspect", gateway.id]).output
    files = container_files.read_folder(engine.client().containers.get(gateway.id), CONFIG_DIR)
    assert hash_key(second) in str(files)
    for key in (first, second):
        assert key not in f"{state}{told}{files}"
        assert hash_key(key) not in f"{state}{told}", "the state has it encrypted"
    steady.keys = []
    steady.up()
    assert steady.get("/one", **{"X-Api-Key": second})[0] == 401
    steady.rules = {}
    steady.up()
    assert steady.get("/one")[0] == 200
    assert {each.id for each in steady.containers()} == before


def test_nothing_changed_changes_nothing(steady: World) -> None:
    before = steady.containers()
    assert steady.up() == {}
    assert [each.id for each in steady.containers()] == [each.id for each in before]


def test_new_versions_are_put_in_place_without_dropping_a_request(steady: World) -> None:
    """A rollout under load, on fresh, kept and slow connections: not one request fails."""
    seen = [steady.version]
    with steady.load("/one") as result:
        steady.version = "under-load"
        seen.append(steady.version)
        assert steady.up() == {"replace": 2, "update": 2}
        wait(lambda: steady.get("/one")[1].startswith(steady.version))
        time.sleep(1)
    assert result["failures"] == []
    for kind in ("fresh", "kept", "slow"):
        assert all(result["answers"].get(f"{kind} {version}") for version in seen), result
    assert len(steady.containers()) == 3
    assert len(steady.volumes()) == 4  # of each service its secrets, of the gateway its secrets and its configuration


@contextmanager
def upgraded(world: World, path: str) -> Iterator[socket.socket]:
    """Yield a connection that has been upgraded to one that says all again."""
    with socket.create_connection(("127.0.0.1", world.port), timeout=60) as talk:
        talk.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".encode())
        assert b"101 Switching Protocols" in talk.recv(1000)
        yield talk


def echoes(talk: socket.socket) -> bool:
    talk.sendall(b"still here")
    return talk.recv(1000) == b"still here"


def upload(world: World, seconds: int) -> str:
    """Send a body in as many parts as it takes seconds, and return what the service says of it."""
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=60)
    body = (time.sleep(1) or b"x" * 1000 for _ in range(seconds))
    connection.request("POST", "/one/upload", body=body, headers={"Content-Length": str(seconds * 1000)})
    return connection.getresponse().read().decode()


def events(world: World) -> str:
    """Read server-sent events to their end; one that is cut off is an error."""
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=60)
    connection.request("GET", "/one/events")
    return connection.getresponse().read().decode()


def test_requests_in_flight_have_their_time_to_end_and_what_never_ends_is_closed_in_order(world: World) -> None:
    """A rollout cuts nobody: downloads, uploads, event streams and upgraded connections end in their own time."""
    world.options = {"drain_seconds": 15}
    world.up()
    before, world.version = world.version, "drained"
    with ThreadPoolExecutor() as pool, upgraded(world, "/one/echo") as talk:
        slow, sent, told = (
            pool.submit(world.get, "/one?sleep=12s"),
            pool.submit(upload, world, 12),
            pool.submit(events, world),
        )
        wait(lambda: len(connections(world, "one")) >= 4)
        rollout = pool.submit(world.up)
        wait(lambda: world.get("/one")[1].startswith("drained"))
        assert echoes(talk)
        assert slow.result()[1].startswith(f"{before} GET /one?sleep=12s")
        assert sent.result() == "12000 <nil>\n"
        assert echoes(talk)
        assert talk.recv(1000) == b""
        assert told.result().endswith("data: tick\n\n")
        assert rollout.result() == {"replace": 2, "update": 2}
    assert len(world.containers("one")) == 1


def connections(world: World, service: str) -> list[str]:
    """Return the connections that a service's only container has at its port, as the kernel names them."""
    [found] = world.containers(service)
    pid = run(["docker", "inspect", "--format", "{{.State.Pid}}", found.id]).output.strip()
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return [each[2] for each in lines if each[3] == "01" and each[1].endswith(f":{8000:04X}")]


def test_a_deploy_neither_cuts_nor_waits_for_another_services_connections(steady: World) -> None:
    with upgraded(steady, "/two/echo") as talk:
        steady.env = {"ANOTHER": "setting"}
        assert steady.up() == {"replace": 1, "update": 1}
        assert echoes(talk)


@pytest.mark.parametrize("image", ["tiny", "bare"])
@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("127.0.0.1:8000", "it listens on 127.0.0.1:8000, not on 0.0.0.0:8000"),
        (":9000", "remedy: Set `port` in its service.toml to 9000, or make it listen on 8000"),
    ],
)
def test_a_healthy_container_that_nobody_can_reach_does_not_take_over(
    steady: World, image: str, listen: str, says: str
) -> None:
    before, both = steady.version, steady.images
    steady.env, steady.options = {"LISTEN": listen}, {"health_timeout": 10}
    steady.images = Images(getattr(both, image), both.gateway)
    with steady.load("/one") as result:
        said = steady.fail()
    steady.images = both
    said_of_one = said[said.index("service one failed") :]
    assert said_of_one.startswith(
        "service one failed: it runs, but its port 8000 does not answer on the stack's network"
    )
    assert says in said
    assert result["failures"] == []
    assert steady.get("/one")[1].startswith(before)
    assert len(steady.containers("one")) == 1


def test_an_engine_that_is_elsewhere_is_asked_from_inside_the_stacks_network(
    steady: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is one of TCP here, behind which is the same engine: nothing of it can be seen in this machine."""
    with relayed() as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        steady.version = "far"
        assert steady.up() == {"replace": 2, "update": 2}
        steady.env, steady.options = {"LISTEN": "127.0.0.1:8000"}, {"health_timeout": 10}
        said = steady.fail()
        monkeypatch.delenv("DOCKER_HOST")
    assert "its port 8000 does not answer on the stack's network" in said
    assert steady.get("/one")[1].startswith("far")
    assert {each.service for each in steady.containers()} == {"one", "two", "gateway"}


@contextmanager
def relayed() -> Iterator[str]:
    """Yield an address of TCP, behind which is this machine's engine."""

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as behind:
                behind.connect("/var/run/docker.sock")
                back = threading.Thread(target=pass_on, args=(behind, self.request), daemon=True)
                back.start()
                pass_on(self.request, behind)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_orphans_in_a_container_leave_no_zombies(steady: World) -> None:
    assert steady.get("/one/orphans")[0] == 200
    wait(lambda: len(steady.get("/one/processes")[1].split("\n\n")) <= 3)  # the init, the program, and an empty end


@pytest.mark.parametrize(
    ("options", "says"), [({}, "permission denied"), ({"tmp_exec": True, "tmp_size": "64m"}, "nil")]
)
def test_programs_run_from_tmp_only_where_it_is_allowed(world: World, options: dict[str, Any], says: str) -> None:
    world.options = options
    world.up()
    assert says in world.get("/one/run")[1]


def test_releases_are_recorded_newest_first(steady: World) -> None:
    releases = steady.opened.outputs()["releases"].value
    assert releases[0]["digests"] == {"one": steady.version, "two": steady.version}
    assert releases[0]["time"] >= releases[1]["time"]


def test_the_gateway_comes_back_after_a_crash_also_when_it_was_reloaded_before(steady: World) -> None:
    [front] = steady.containers("gateway")
    ask = ["docker", "inspect", "--format", "{{.State.Pid}}", front.id]
    pid = run(ask).output
    os.kill(int(pid), signal.SIGKILL)
    wait(lambda: run(ask).output not in ("0\n", pid))
    wait(lambda: steady.get("/one")[0] == 200)


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("crash", "service one failed: it ended with exit code 3"),
        ("sick", "service one failed: it did not become healthy within 2 s"),
    ],
)
def test_a_service_that_fails_is_removed_and_the_old_one_still_serves(steady: World, fails: str, says: str) -> None:
    before = steady.version
    steady.version, steady.fails, steady.options = "broken", fails, {"health_timeout": 2}
    said = steady.fail()
    assert says in said
    assert {"crash": "there is no database", "sick": "listening on"}[fails] in said
    assert "Traceback" not in said
    log = Path(said.split("full log: ")[1].split("\n")[0])
    assert log.read_text()
    assert steady.get("/one")[1].startswith(before)
    assert len(steady.containers("one")) == 1


def test_a_kept_connection_outlives_a_deploy(steady: World) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", steady.port, timeout=30)

    def said() -> str:
        connection.request("GET", "/one")
        return connection.getresponse().read().decode()

    assert said().startswith(steady.version)
    talk = connection.sock
    steady.version = "kept"
    assert steady.up() == {"replace": 2, "update": 2}
    assert said().startswith("kept")
    assert connection.sock is talk  # it was not opened again


def test_envoy_itself_cannot_be_asked_from_the_stacks_network(steady: World) -> None:
    [front] = steady.containers("gateway")
    listening = run(["docker", "exec", front.id, "cat", "/proc/net/tcp", "/proc/net/tcp6"]).output
    found = {port for _, port in sockets.listening_addresses(listening)}
    assert found == {8080}


def test_an_image_that_is_not_there_is_named(steady: World) -> None:
    steady.version, wrong = "none", f"{steady.images.tiny.split('@')[0]}@sha256:{'0' * 64}"
    right, steady.images = steady.images, Images(wrong, steady.images.gateway)
    said = steady.fail()
    steady.images = right
    assert f"image {wrong} can't be pulled" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_deployment_leaves_nothing_half_made(steady: World, how: signal.Signals) -> None:
    before = [each.id for each in steady.containers("one")]
    steady.version, steady.fails, steady.options = "never", "sick", {"health_timeout": 120}
    with steady.deploying() as pulumi:
        os.kill(pulumi, how)
    wait(lambda: [each.id for each in steady.containers("one")] == before)
    wait(lambda: len([name for name in steady.volumes() if "-one-" in name]) == 1)
    if how is signal.SIGKILL:
        steady.stack().cancel()


def test_a_container_that_was_stopped_or_removed_is_replaced(steady: World) -> None:
    run(["docker", "stop", "--time", "1", steady.containers("one")[0].id])
    assert steady.up() == {"replace": 1, "update": 1}
    run(["docker", "rm", "--force", steady.containers("one")[0].id])
    assert steady.up() == {"replace": 1, "update": 1}
    run(["docker", "rm", "--force", steady.containers("one")[0].id])
    steady.stack().refresh(color="never")
    assert steady.up() == {"create": 1, "update": 1}
    assert steady.get("/one")[0] == 200


def test_a_service_that_is_down_takes_no_other_with_it_not_even_at_a_restart(steady: World) -> None:
    run(["docker", "rm", "--force", steady.containers("one")[0].id])
    run(["docker", "restart", "--time", "1", steady.containers("gateway")[0].id])
    wait(lambda: steady.get("/two")[0] == 200)
    assert steady.get("/one") == (
        502,
        '{"error": "service unavailable", "service": "one", "status": 502}\n',
    )
    status, page = steady.get("/one", Accept="text/html,*/*")
    assert status == 502 and "<h1>one is down</h1>" in page
    assert steady.up() == {"replace": 1, "update": 1}


def test_a_configuration_that_envoy_refuses_never_goes_live(steady: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = steady.version
    monkeypatch.setattr(envoy_routes, "IDEMPOTENT_METHODS", ("(GET",))
    steady.version = "refused"
    said = steady.fail()
    assert "Envoy refuses the configuration" in said
    assert "missing ): (GET" in said
    monkeypatch.undo()
    run(["docker", "restart", "--time", "1", steady.containers("gateway")[0].id])
    wait(lambda: steady.get("/one")[1].startswith(before))
    steady.up()
    assert steady.get("/one")[1].startswith("refused")


def test_a_gateway_changed_by_hand_is_put_right(steady: World) -> None:
    [front] = steady.containers("gateway")
    container = engine.client().containers.get(front.id)
    gateway.container_files.put_files(container, "/etc/slipway", {"routes.json": "{}"})
    assert steady.up() == {"update": 1}
    assert steady.up() == {}


def test_a_port_that_is_taken_is_told_with_its_holder(world: World, built: Images, tmp_path: Path) -> None:
    other = World(built, tmp_path, port=world.port)
    said = other.fail()
    assert f"port {world.port} at 127.0.0.1 is taken by container {world.name}-dev-gateway" in said
    assert "[gateway] in workspace.toml" in said
    assert not other.containers("gateway")
    other.port = free_port()
    assert other.up() == {"create": 2}
    other.stack().destroy()
    assert not other.containers() and not other.volumes()


def test_a_new_port_replaces_the_gateway(steady: World) -> None:
    steady.port = free_port()
    assert steady.up() == {"replace": 1}
    assert steady.get("/one")[0] == 200


def test_what_a_killed_deployment_left_behind_is_swept_and_nothing_else(steady: World) -> None:
    kept = steady.containers()
    remove_leftovers(steady.name, "dev", [each.id for each in kept], anyones)
    words = ["--label", f"{engine.WORKSPACE_LABEL}={steady.name}", "--label", f"{engine.STACK_LABEL}=dev"]
    lost, orphan = f"{steady.name}-dev-one-lost", f"{steady.name}-dev-two-lost-secrets"
    run(["docker", "create", *words, "--name", lost, steady.images.tiny])
    for volume in (f"{lost}-secrets", orphan):
        run(["docker", "volume", "create", *words, volume])
    assert remove_leftovers(steady.name, "dev", [each.id for each in kept], anyones) == [lost, orphan]
    assert len(steady.volumes()) == len(kept) + 1  # the gateway has two
    assert [each.id for each in steady.containers()] == [each.id for each in kept]


def test_another_state_with_the_same_names_is_refused_and_touches_nothing(steady: World, tmp_path: Path) -> None:
    before = {each.id for each in steady.containers()}
    other = World(steady.images, tmp_path, name=steady.name)
    said = other.fail()
    assert "already runs on this engine" in said
    other.stack().destroy()
    assert {each.id for each in steady.containers()} == before
    assert all(each.labels[OWNER_LABEL] for each in steady.containers())
    assert steady.up() == {}


def test_a_foreign_container_and_volume_of_the_gateways_name_stay(built: Images, tmp_path: Path) -> None:
    world = World(built, tmp_path)
    name = f"{world.name}-dev-gateway"
    foreign = run(["docker", "create", "--name", name, built.tiny]).output.strip().splitlines()[-1]
    try:
        said = world.fail()
        assert f"already a container {name}" in said and "not Slipway's" in said
        assert run(["docker", "inspect", "--format", "{{.Id}}", name]).output.strip() == foreign
        run(["docker", "rm", foreign])
        run(["docker", "volume", "create", f"{name}-config"])
        assert f"already a volume {name}-config" in world.fail()
        assert run(["docker", "volume", "inspect", f"{name}-config"]).code == 0
    finally:
        world.stack().destroy()
        run(["docker", "rm", "--force", foreign])
        run(["docker", "volume", "rm", f"{name}-config"])


@pytest.mark.parametrize("how", ["kill", "pause", "hang", "disconnect"])
def test_what_was_killed_paused_hangs_or_left_its_network_is_mended(steady: World, how: str) -> None:
    [one], [front] = steady.containers("one"), steady.containers("gateway")
    if how == "hang":
        run(["docker", "kill", "--signal", "STOP", front.id])
    elif how == "disconnect":
        run(["docker", "network", "disconnect", f"{steady.name}-dev", one.id])
    else:
        run(["docker", how, one.id, front.id])
    steady.up()
    assert steady.get("/one")[0] == 200
    assert steady.up() == {}


def test_containers_come_back_when_the_engine_starts_again_also_after_a_kill(steady: World) -> None:
    for each in steady.containers():
        asked = run(["docker", "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", each.id])
        assert asked.output.strip() == "always"


def test_a_stray_in_the_network_stands_in_no_destroys_way_and_a_foreign_container_is_named(
    built: Images, tmp_path: Path
) -> None:
    world = World(built, tmp_path)
    world.up()
    [one] = world.containers("one")
    labels = [word for name, value in one.labels.items() for word in ("--label", f"{name}={value}")]
    net = f"{world.name}-dev"
    run(["docker", "run", "--detach", "--network", net, *labels, built.tiny])
    foreign = f"{world.name}-foreign"
    run(["docker", "run", "--detach", "--network", net, "--name", foreign, built.tiny])
    try:
        with pytest.raises(Exception, match=f"still used by {foreign}"):
            world.stack().destroy()
        assert run(["docker", "inspect", foreign]).code == 0
    finally:
        run(["docker", "rm", "--force", foreign])
        world.stack().destroy()
    assert not world.containers()


def test_plain_pulumi_finds_the_provider_in_the_workspace(deployed: World, tmp_path: Path) -> None:
    """`pulumi up` in infra/ starts the provider as a program, with the workspace's Python."""
    (tmp_path / "state").mkdir()
    (tmp_path / "infra").mkdir()
    (tmp_path / "workspace.toml").touch()
    (tmp_path / ".venv").symlink_to(made_for(bake(tmp_path / "baked")))
    project = "name: plain\nruntime: {name: python, options: {virtualenv: ../.venv}}\n"
    project += "plugins: {providers: [{name: slipway, path: ../.venv/bin}]}\n"
    (tmp_path / "infra" / "Pulumi.yaml").write_text(project)
    (tmp_path / "infra" / "__main__.py").write_text(
        "from slipway._internal.provider.resources import Network, Release\n"
        f"Network('net', name='{deployed.name}-plain')\n"
        "Release('release', mode='inline', digests={'one': 'sha256:1'})\n"
    )
    environment = {
        "PATH": f"{ensure_tool('pulumi').parent}:{ensure_tool('pulumi-language-python').parent}:/usr/bin:/bin",
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_HOME": str(tmp_path / "home"),
    }
    for words in (["stack", "init", "dev"], ["up", "--yes"], ["destroy", "--yes"]):
        result = run(["pulumi", "--non-interactive", *words], cwd=tmp_path / "infra", env=environment)
        assert result.code == 0, result.output
    assert "3 deleted" in result.output
