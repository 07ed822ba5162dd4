"""Nodes that only say that they run their pods, by kwok: what a control plane does can be measured without machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.process import Failed, end, run, start
from bench.rivals import cache

VERSION = "0.7.0"
MODULE = "sigs.k8s.io/kwok"
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
MARK = "kwok.x-k8s.io/node"
PODS = 1000
LEASE = 40  # seconds, a kubelet's own
ADDRESSES = "10.0.0.1/16"  # of pods: kwok's own default has room for 254


def tools() -> tuple[Path, Path]:
    """Return kwok and its stages, built once from the Go module.

    Raises:
        Failed: it cannot be built.
    """
    folder = cache() / f"kwok-{VERSION}"
    binary, stages = folder / "kwok", folder / "stages.yaml"
    if not stages.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").write_text(f"module rivals/kwok\n\ngo 1.24\n\nrequire {MODULE} v{VERSION}\n")
        made = {"CGO_ENABLED": "0", "GOWORK": "off"}
        run(["go", "build", "-mod=mod", "-o", binary, f"{MODULE}/cmd/kwok"], folder, made)
        source = run(["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", MODULE], folder, made).strip().splitlines()[-1]
        texts = [(Path(source) / "kustomize" / "stage" / each).read_text(encoding="utf-8") for each in STAGES]
        stages.write_text("\n---\n".join(texts), encoding="utf-8")
    return binary, stages


@contextmanager
def nodes(kubectl: list[str], kubeconfig: Path, count: int, folder: Path) -> Iterator[None]:
    """Have so many nodes in a cluster, and no pods on its real ones, for the time of a `with`.

    Raises:
        Failed: kwok or the cluster did not do it.
    """
    binary, stages = tools()
    made = [_node(f"fake-{number}") for number in range(count)]
    file = folder / "nodes.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": made}), encoding="utf-8")
    real = json.loads(run([*kubectl, "get", "nodes", "-o", "json"], folder))["items"]
    for each in real:
        run([*kubectl, "cordon", each["metadata"]["name"]], folder)
    words: list[str | Path] = [
        f"--kubeconfig={kubeconfig}",
        f"--manage-nodes-with-annotation-selector={MARK}=fake",
        "--config",
        stages,
        # Without a lease the node is lost to Kubernetes after 50 s, and every pod on it unready from then on.
        f"--node-lease-duration-seconds={LEASE}",
        f"--cidr={ADDRESSES}",
    ]
    with (folder / "kwok.log").open("w") as log:
        kwok = start([binary, "--manage-all-nodes=false", *words], folder, output=log)
        try:
            run([*kubectl, "apply", "-f", file], folder)
            run([*kubectl, "wait", "--for=condition=Ready", "nodes", "-l", MARK, "--timeout=120s"], folder)
            yield
            if kwok.poll() is not None:
                raise Failed("kwok ended", (folder / "kwok.log").read_text(encoding="utf-8"))
        finally:
            run([*kubectl, "delete", "-f", file, "--ignore-not-found"], folder)
            end(kwok)
            for each in real:
                run([*kubectl, "uncordon", each["metadata"]["name"]], folder)


def _node(name: str) -> dict[str, object]:
    labels = {MARK: "fake", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name}
    about = {"name": name, "annotations": {MARK: "fake"}, "labels": labels}
    room = {"cpu": "1000", "memory": "4Ti", "pods": str(PODS)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": about,
        "status": {"allocatable": room, "capacity": room},
    }
