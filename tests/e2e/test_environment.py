"""A deploy in an environment that would break it: a company's proxy, variables of Docker and Pulumi, odd outputs."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.workspace import Workspace
from tests.own_python import lend

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
LOOPBACK = (b"127.", b"localhost", b"[::1]", b"0.0.0.0")


@contextmanager
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Listen as a proxy that refuses all; yield its address and, as they come, whom it was asked for."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(300))

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)


def changed(workspace: Workspace, line: str) -> None:
    """Change a service, so that something is built, pushed, pulled and replaced."""
    main = workspace.root / "services" / "worker" / "app" / "__main__.py"
    main.write_text(f"{main.read_text()}# {line}\n")


@pytest.mark.parametrize("lower", [True, False])
def test_nothing_asks_a_proxy_for_this_machine(deployed: Workspace, lower: bool) -> None:
    changed(deployed, f"proxy {lower}")
    names = {"http_proxy": "http", "https_proxy": "http", "all_proxy": "socks5h"}
    with proxy() as (address, asked):
        given = {name if lower else name.upper(): f"{scheme}://{address}" for name, scheme in names.items()}
        said = deployed.up(**given)
        assert deployed.invoke("status", "--json", **given).json()
    assert said["changed"]
    assert [row["health"] for row in said["rows"] if row["url"]] == ["200 OK", "200 OK"]
    hosts = [request.split(b" ")[1].removeprefix(b"http://") for request in asked if request.count(b" ") > 1]
    assert not [host for host in hosts if host.startswith(LOOPBACK)]


def test_variables_of_docker_and_pulumi_change_no_deploy(deployed: Workspace, tmp_path: Path) -> None:
    changed(deployed, "variables")
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "absent"}))
    said = deployed.up(
        **{"DOCKER_BUILDKIT": "0", "BUILDX_BUILDER": "none", "BUILDX_CONFIG": "/nowhere", "BUILDKIT_HOST": "none"},
        **{"DOCKER_DEFAULT_PLATFORM": "linux/s390x", "DOCKER_HOST": "", "DOCKER_CONFIG": str(tmp_path)},
        **{"PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_STACK": "none", "PULUMI_OPTION_JSON": "true"},
        **{"PULUMI_IGNORE_AMBIENT_PLUGINS": "true", "PULUMI_ACCESS_TOKEN": "none", "KUBECONFIG": "/nowhere"},
    )
    assert said["changed"]


@pytest.mark.parametrize(
    ("redirect", "code"), [(">&-", 0), (">&- 2>&- <&-", 0), (">/dev/full", 0), ("| head -1; exit ${PIPESTATUS[0]}", 0)]
)
def test_a_deploy_is_done_wherever_its_output_goes(deployed: Workspace, redirect: str, code: int) -> None:
    changed(deployed, redirect)
    before = deployed.ids()["worker"]
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m invoke up {redirect}', lend(deployed.root)],
        cwd=deployed.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == code, done.stderr
    assert deployed.ids()["worker"] != before
