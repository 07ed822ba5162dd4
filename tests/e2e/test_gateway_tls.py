"""The gateway's certificate, metrics and maintenance, by the real Pulumi on a real engine."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import Authority, Issued
from tests.e2e.provider_world import Images, World, free_port
from tests.e2e.test_provider import anyones, built
from tests.pebble import pebble
from tests.quic import http3

from slipway._internal.commands.gateway_options import MaintenanceOptions
from slipway._internal.model.acme import AcmeSettings
from slipway._internal.release.certificates import DockerGateway
from slipway._internal.release.issue import ensure_certificate
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.certificate_store import FOLDER, read_store
from slipway._internal.rollout.gateway import STORE_VOLUME
from slipway._internal.rollout.live_gateway import LiveGateway
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import remove_leftovers
from slipway._internal.run.process import run

__all__ = ["built"]
pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
HOST = "shop.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Shop:
    """A stack whose gateway has a certificate."""

    def __init__(self, world: World, authority: Authority) -> None:
        self.world, self.authority = world, authority
        self.tls_port, self.metrics_port = free_port(), free_port()
        self.context = ssl.create_default_context(cafile=str(authority.root))

    def certify(self, issued: Issued, name: str) -> None:
        """Have the next deploy serve a certificate."""
        tls = {"certificate": issued.chain, "key": name, "port": self.tls_port}
        self.world.front = {
            "options": {"hosts": [HOST], "tls": tls, "hsts": 60, "metrics": True},
            "secrets": {name: issued.key},
            "tls_port": self.tls_port,
            "metrics_port": self.metrics_port,
        }

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=30)
        return self.context.wrap_socket(plain, server_hostname=HOST)

    def served(self) -> bytes:
        """Return the certificate that a new connection gets."""
        with self.connect() as talk:
            return talk.getpeercert(binary_form=True) or b""

    def ask(self, connection: http.client.HTTPConnection, path: str = "/one") -> int:
        if connection.sock is None:
            connection.sock = self.connect()
        connection.request("GET", path, headers={"Host": HOST})
        reply = connection.getresponse()
        reply.read()
        return reply.status

    def get(self, path: str) -> int:
        connection = http.client.HTTPConnection(HOST, timeout=30)
        try:
            return self.ask(connection, path)
        finally:
            connection.close()

    @contextmanager
    def load(self) -> Iterator[list[Any]]:
        """Ask as often as it goes, half of it on kept connections; yield what came back: statuses and errors."""
        found: list[Any] = []
        end = threading.Event()

        def work(keeps: bool) -> None:
            connection = http.client.HTTPConnection(HOST, timeout=30)
            while not end.is_set():
                try:
                    found.append(self.ask(connection))
                except (OSError, http.client.HTTPException) as error:
                    found.append(repr(error))
                    connection.close()
                if not keeps:
                    connection.close()
                time.sleep(0.01)

        threads = [threading.Thread(target=work, args=(number < 2,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            end.set()
            for thread in threads:
                thread.join()


@pytest.fixture(scope="module")
def shop(built: Images, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    world = World(built, tmp_path_factory.mktemp("state"))
    found = Shop(world, authority)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_BACKEND_URL", "")
        patch.setenv("SLIPWAY_LOGS", str(world.folder / "logs"))
        found.certify(authority.issue(HOST), "first.key")
        world.up()
        yield found
        world.stack().destroy()
        remove_leftovers(world.name, "dev", [], anyones)
    assert not world.containers() and not world.volumes()


def container_of(shop: Shop) -> str:
    [gateway] = shop.world.containers("gateway")
    return gateway.id


def test_it_serves_and_its_key_is_a_file_of_its_user_and_nowhere_else(shop: Shop, tmp_path: Path) -> None:
    assert shop.get("/one") == 200
    assert shop.world.get("/one", Host=HOST)[0] == 308
    key = shop.world.front["secrets"]["first.key"]
    listed = run(["docker", "cp", f"{container_of(shop)}:/run/secrets/first.key", str(tmp_path / "key")])
    assert listed.code == 0 and (tmp_path / "key").read_text() == key
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o400
    shown = [run(["docker", word, container_of(shop)]).output for word in ("inspect", "logs")]
    state = "".join(path.read_text() for path in shop.world.folder.rglob("*.json") if path.is_file())
    assert shop.authority and len(state) > 1000
    for secret in key.splitlines()[1:-1]:
        assert not [text for text in (*shown, state) if secret in text]
    run(["docker", "cp", f"{container_of(shop)}:/etc/slipway", str(tmp_path / "config")])
    assert "first.key" in (tmp_path / "config" / "certificates.json").read_text()
    assert key.splitlines()[1] not in "".join(path.read_text() for path in (tmp_path / "config").iterdir())


def test_a_renewed_certificate_is_taken_up_by_a_deploy_without_a_failed_request(shop: Shop, tmp_path: Path) -> None:
    before = container_of(shop)
    with shop.load() as found:
        for number in range(2):
            renewed = shop.authority.issue(HOST)
            shop.certify(renewed, f"renewed{number}.key")
            assert shop.world.up() == {"update": 1}
            assert shop.served() == ssl.PEM_cert_to_DER_cert(renewed.chain.partition("-----END")[0] + END)
            time.sleep(1)
    assert set(found) == {200} and len(found) > 200
    assert container_of(shop) == before
    run(["docker", "cp", f"{before}:/run/secrets", str(tmp_path / "secrets")])
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "secrets").iterdir()}
    assert sizes["renewed0.key"] == 0 and sizes["renewed1.key"] > 100


END = "-----END CERTIFICATE-----"


def test_a_certificate_whose_key_is_anothers_is_refused_and_the_old_one_stays(shop: Shop) -> None:
    served, front = shop.served(), shop.world.front
    wrong, other = shop.authority.issue(HOST), shop.authority.issue(HOST)
    shop.certify(Issued(wrong.chain, other.key), "wrong.key")
    said = shop.world.fail()
    shop.world.front = front
    assert "Envoy refuses the configuration" in said and other.key.splitlines()[1] not in said
    assert shop.served() == served and shop.get("/one") == 200
    shop.world.up()


def test_metrics_are_at_the_loopback_address(shop: Shop) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shop.metrics_port, timeout=30)
    connection.request("GET", "/metrics")
    reply = connection.getresponse()
    assert reply.status == 200 and b"envoy_http_downstream_rq_total" in reply.read()
    shown = json.loads(run(["docker", "inspect", container_of(shop)]).output)[0]["NetworkSettings"]["Ports"]
    assert [each["HostIp"] for each in shown["9464/tcp"]] == ["127.0.0.1"]


def test_maintenance_is_kept_by_a_deploy_and_by_another_gateway(shop: Shop) -> None:
    live = LiveGateway.of(shop.world.name, "dev")
    live.switch_maintenance(MaintenanceOptions(services=("one",)), CancellationToken())
    try:
        assert (shop.get("/one"), shop.get("/two"), shop.get("/.slipway/health")) == (503, 200, 200)
        assert shop.world.up() == {}
        shop.world.version = f"v{time.monotonic_ns()}"
        shop.world.up()
        assert (shop.get("/one"), shop.get("/two")) == (503, 200)
        shop.metrics_port = shop.world.front["metrics_port"] = free_port()
        shop.world.up()  # which replaces it
        assert (shop.get("/one"), shop.get("/two")) == (503, 200)
    finally:
        LiveGateway.of(shop.world.name, "dev").switch_maintenance(None, CancellationToken())
    assert shop.get("/one") == 200 and shop.world.up() == {}


def test_a_certificate_is_issued_and_outlives_the_gateway(
    built: Images, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real authority asks the gateway's container; what it issued is found again by each gateway that comes after."""
    world = World(built, tmp_path / "state")
    world.folder.mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", "")
    monkeypatch.setenv("SLIPWAY_LOGS", str(world.folder / "logs"))
    shop = Shop(world, authority)
    options = {"hosts": [HOST], "acme": {"port": shop.tls_port}, "hsts": 60, "metrics": True, "http3": True}
    world.front = {"options": options, "tls_port": shop.tls_port, "metrics_port": shop.metrics_port}
    world.front["http3_port"] = shop.tls_port
    volume = engine.volume_name(f"{world.name}-dev-gateway", STORE_VOLUME)
    said: list[str] = []

    def ensure() -> bool:
        return ensure_certificate(settings, DockerGateway(container_of(shop), shop.tls_port), said.append).issued

    try:
        world.up()
        assert world.get("/one", Host=HOST)[0] == 200
        (tmp_path / "pebble").mkdir()
        with pebble(tmp_path / "pebble", world.port, authority.issue("localhost"), authority.root) as issuer:
            settings = AcmeSettings(issuer.directory, (HOST,), ca_file=str(issuer.ca_file))
            assert ensure() and world.get("/one", Host=HOST)[0] == 308
            (tmp_path / "root.pem").write_text(issuer.root())
            shop.context = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
            served = shop.served()
            keys = _keys_of_store(container_of(shop))
            assert shop.get("/one") == 200 and len(keys) == 2
            reading = ["docker", "exec", container_of(shop), "cat", f"{FOLDER}/certificate.json"]
            assert run(reading).code != 0  # as Envoy's user
            assert asyncio.run(_ask_by_udp(shop, tmp_path / "root.pem")) == 200
            assert world.up() == {}
            world.stack().destroy()
            world.up()
            assert (shop.served(), ensure(), issuer.orders()) == (served, False, 1)
        shown = [run(["docker", word, container_of(shop)]).output for word in ("inspect", "logs")]
        written = [path.read_text(errors="replace") for path in world.folder.rglob("*.json") if path.is_file()]
        for secret in (line for key in keys for line in key.splitlines()[1:3]):
            assert not [text for text in (*shown, *written, *said) if secret in text]
    finally:
        world.stack().destroy()
        remove_leftovers(world.name, "dev", [], anyones)
        engine.remove_volume(volume)
    assert not world.containers() and not world.volumes()


async def _ask_by_udp(shop: Shop, ca_file: Path) -> int:
    async with http3(shop.tls_port, HOST, ca_file) as connection:
        return (await connection.ask(HOST, "/one")).status


def _keys_of_store(container: str) -> list[str]:
    files = read_store(engine.client().containers.get(container))
    return [json.loads(files[name])["key"] for name in ("account.json", "certificate.json")]
