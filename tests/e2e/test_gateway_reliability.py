"""What is done to a stack under load costs no request: one gateway, 200 requests a second through all of it.

Each event has its requests: 1,000 in a run of all tests, 10,000 by `./run reliability`.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import Authority
from tests.e2e.provider_world import HERE, Images, World
from tests.e2e.test_gateway_tls import HOST, Shop
from tests.e2e.test_provider import anyones, built

from slipway._internal.model.consumer_keys import hash_key, new_key
from slipway._internal.run.engine_objects import remove_leftovers
from slipway._internal.run.process import run

__all__ = ["built"]
pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

REQUESTS = int(os.environ.get("SLIPWAY_RELIABILITY_REQUESTS", "1000"))
RATE = 200
KINDS = ("kept GET", "kept POST", "new GET", "new POST", "HTTP/2 GET", "HTTP/2 POST")
STREAMS = ("word on a web socket", "line of events")
AUTH = {"auth": {"keys": True}}


@dataclass
class Traffic:
    """The running program, see traffic.go; `key` is what it sends."""

    process: subprocess.Popen[str]

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def count(self) -> dict[str, Any]:
        """Return how many of each kind were answered until now, and how often what has failed."""
        self.say("count")
        assert self.process.stdout
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    @contextmanager
    def during(self, event: str) -> Iterator[None]:
        """Let an event happen, go on until it has had its requests, and see that all kinds passed and none failed."""
        before = self.count()
        begun = time.monotonic()
        yield
        after = self.count()
        while _requests(after) - _requests(before) < REQUESTS and not after["failed"]:
            assert time.monotonic() - begun < 600, after
            time.sleep(0.2)
            after = self.count()
        print(f"{event}: {_requests(after) - _requests(before)} requests in {time.monotonic() - begun:.0f} s; {after}")
        assert after["failed"] == {}, event
        for kind in (*KINDS, *STREAMS):
            assert after["answered"][kind] > before["answered"].get(kind, 0), kind


def _requests(counted: Mapping[str, Any]) -> int:
    return sum(counted["answered"].get(kind, 0) for kind in KINDS)


@contextmanager
def flowing(shop: Shop, key: str, folder: Path) -> Iterator[Traffic]:
    """Have the program ask the gateway for the time of a `with`."""
    shutil.copy(HERE / "traffic.go", folder)
    environment = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", "traffic", "traffic.go"], cwd=folder, env=environment, check=True)
    words = [str(folder / "traffic"), f"127.0.0.1:{shop.tls_port}", HOST, str(shop.authority.root), str(RATE)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            traffic = Traffic(process)
            traffic.say(f"key {key}")
            yield traffic
            traffic.say("end")
            process.wait(timeout=60)
        finally:
            process.kill()


@dataclass
class Scene:
    """A stack with two containers of `one`, whose callers have a key and come over HTTPS, and those callers."""

    shop: Shop
    traffic: Traffic
    key: str

    @property
    def world(self) -> World:
        return self.shop.world


@pytest.fixture(scope="module")
def scene(built: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    world = World(built, tmp_path_factory.mktemp("state"), replicas=2, rules=AUTH)
    shop = Shop(world, Authority(tmp_path_factory.mktemp("authority")))
    key = new_key()
    world.keys = [hash_key(key)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_BACKEND_URL", "")
        patch.setenv("SLIPWAY_LOGS", str(world.folder / "logs"))
        shop.certify(shop.authority.issue(HOST), "first.key")
        try:
            world.up()
            assert len(world.containers("one")) == 2
            with flowing(shop, key, tmp_path_factory.mktemp("traffic")) as traffic:
                yield Scene(shop, traffic, key)
            assert traffic.process.returncode == 0
        finally:
            world.stack().destroy()
            remove_leftovers(world.name, "dev", [], anyones)
    assert not world.containers() and not world.volumes()


def test_a_rollout(scene: Scene) -> None:
    before = {each.id for each in scene.world.containers() if each.service != "gateway"}
    with scene.traffic.during("a rollout"):
        scene.world.version = "v2"
        scene.world.up()
    assert not before & {each.id for each in scene.world.containers()}


def test_a_rollout_that_fails(scene: Scene) -> None:
    before = {each.id for each in scene.world.containers()}
    with scene.traffic.during("a rollout that fails"):
        scene.world.fails = "crash"
        assert "it ended with exit code 3" in scene.world.fail()
        scene.world.fails = ""
        scene.world.up()
    assert {each.id for each in scene.world.containers("one")} <= before


def test_a_change_of_rules(scene: Scene) -> None:
    with scene.traffic.during("a change of rules"):
        for more in (
            {"limit": {"requests": 1_000_000, "per": "second", "by": "consumer"}, "compression": True},
            {"response-headers": {"set": {"X-Frame-Options": "DENY"}}, "timeout": 30},
            {},
        ):
            scene.world.rules = {**AUTH, **more}
            assert scene.world.up() == {"update": 1}


def test_a_certificates_renewal(scene: Scene) -> None:
    with scene.traffic.during("a certificate's renewal"):
        renewed = scene.shop.authority.issue(HOST)
        scene.shop.certify(renewed, "renewed.key")
        assert scene.world.up() == {"update": 1}
        [leaf, *_] = renewed.chain.split("-----END CERTIFICATE-----\n")
        assert scene.shop.served() == ssl.PEM_cert_to_DER_cert(f"{leaf}-----END CERTIFICATE-----\n")


def test_a_rotated_key(scene: Scene) -> None:
    second = new_key()
    with scene.traffic.during("a rotated key"):
        scene.world.keys = [hash_key(scene.key), hash_key(second)]
        assert scene.world.up() == {"update": 1}
        scene.traffic.say(f"key {second}")
        time.sleep(2)  # for what was sent with the first one to be answered
        scene.world.keys = [hash_key(second)]
        assert scene.world.up() == {"update": 1}


def test_a_killed_container_of_two(scene: Scene) -> None:
    with scene.traffic.during("a killed container of two"):
        [killed] = [each for each in scene.world.containers("one") if each.resource == "one.2"]
        assert run(["docker", "kill", killed.id]).code == 0
        time.sleep(3)
        scene.world.up()
    running = [each for each in scene.world.containers("one") if each.state == "running"]
    assert len(running) == 2 and killed.id not in {each.id for each in running}
