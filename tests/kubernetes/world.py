"""A real node for the tests: ways to ask it, an image for its pods, and the traces that it must not leave."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway._internal.toolchain.cluster import kernel
from slipway._internal.toolchain.cluster import layout as at
from slipway._internal.toolchain.cluster.layout import node_layout
from slipway._internal.toolchain.cluster.node import NodeStatus
from slipway._internal.toolchain.cluster.sandbox import pack_image
from slipway._internal.toolchain.install import ensure_tool

HERE = Path(__file__).parent
WAIT_SECONDS = 120.0
KUBECTL_SECONDS = 180.0


@dataclass(frozen=True)
class Cluster:
    """The node, asked by kubectl and by plain HTTP."""

    kubeconfig: Path

    def kubectl(self, *words: str, stdin: str | None = None, code: int = 0) -> str:
        """Run kubectl, which must end with `code`, and return what it printed."""
        done = subprocess.run(
            [ensure_tool("kubectl"), "--kubeconfig", self.kubeconfig, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def get(self, *words: str) -> Any:
        """Return what `kubectl get` finds, as parsed JSON."""
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def apply(self, *documents: dict[str, Any]) -> None:
        """Create or change objects."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(whole))

    def address(self, service: str, namespace: str) -> str:
        """Return a Service's address, which this machine reaches, too."""
        return str(self.get("service", service, "--namespace", namespace)["spec"]["clusterIP"])

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the pods of a namespace that are not being ended."""
        words = ["--selector", selector] if selector else []
        found = self.get("pods", "--namespace", namespace, *words)["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def remove(self, namespace: str) -> None:
        """Delete a namespace with all that is in it, and wait for the end."""
        self.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s")


def fetch(host: str, path: str = "/", port: int = 80, seconds: float = 5.0) -> tuple[int, str]:
    """Request a path; (0, why) when nothing answered."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def from_inside(address: str, url: str) -> tuple[int, str]:
    """Request a URL from inside the pod of a probe that has this address."""
    return fetch(address, f"/fetch?url={urllib.parse.quote(url, safe='')}", seconds=10.0)


def push_probe(folder: Path, registry: str) -> str:
    """Build the probe, push it to a registry on this machine, and return the image by its digest."""
    program, archive, image = folder / "probe", folder / "image.tar", folder / "image"
    subprocess.run(
        ["go", "build", "-ldflags", "-s -w", "-o", program, HERE / "probe.go"],
        check=True,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        timeout=600,
    )
    archive.write_bytes(pack_image(program.read_bytes(), "amd64"))
    image.mkdir()
    shutil.unpack_archive(archive, image)
    name = f"{registry}/slipway-k8s/probe"
    pushed = subprocess.run(
        [ensure_tool("crane"), "push", "--insecure", image, f"{name}:1"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return next(word for word in pushed.stdout.split() if "@sha256:" in word)


def probe(image: str, name: str, namespace: str, replicas: int = 1) -> list[dict[str, Any]]:
    """Return a Deployment of the probe and its Service."""
    labels, about = {"probe": name}, {"name": name, "namespace": namespace}
    container = {
        "name": name,
        "image": image,
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": about,
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": about,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def namespace(name: str) -> dict[str, Any]:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def wait_until(true: Any, what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < end, f"still not: {what}"
        time.sleep(0.1)


def part(status: NodeStatus, name: str) -> int:
    """Return the process of a part, which must run."""
    pid = next(each.pid for each in status.parts if each.name == name)
    assert pid, f"{name} does not run"
    return pid


def traces() -> list[str]:
    """Return all that a node has left on this machine."""
    home = node_layout().home
    found = [f"process {each}" for each in _processes(str(home), str(at.RUNTIME_FOLDER))]
    found += [f"mount {each}" for each in kernel.list_mount_points(home, at.RUNTIME_FOLDER)]
    found += [f"cgroup {each}" for each in kernel.list_pod_cgroups()]
    found += [f"folder {each}" for each in (home, at.RUNTIME_FOLDER) if each.exists()]
    if Path("/sys/class/net", at.BRIDGE_NAME).exists():
        found.append(f"interface {at.BRIDGE_NAME}")
    for family in ("iptables", "ip6tables"):
        rules = subprocess.run([f"{family}-save"], capture_output=True, text=True, timeout=30, check=False).stdout
        found += [f"{family} {line}" for line in rules.splitlines() if re.search(r"KUBE-|SLIPWAY-CLUSTER", line)]
    return found


def _processes(*words: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if any(word in line for word in words):
                found.append(f"{folder.name} {line}")
    return found
