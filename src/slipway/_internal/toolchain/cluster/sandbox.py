"""The image that holds a pod's namespaces: built here where Go is, else Kubernetes' own from its registry."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.package_data import package_path
from slipway._internal.model.scratch import temporary_folder
from slipway._internal.run.process import run
from slipway._internal.toolchain.cluster.layout import NodeLayout
from slipway._internal.toolchain.paths import cache_path
from slipway._internal.toolchain.vendor_release import ARCHITECTURES

PAUSE_SOURCE = package_path("_internal", "toolchain", "cluster", "pause.go")
OWN_IMAGE = "slipway.local/pause:1"
UPSTREAM_IMAGE = "registry.k8s.io/pause:3.10.1"
BUILD_SECONDS, IMPORT_SECONDS = 600.0, 60.0


def image_name() -> str:
    """Return the image's name: the own one can be built, or Kubernetes' has to be pulled."""
    return OWN_IMAGE if shutil.which("go") else UPSTREAM_IMAGE


def build_image_archive() -> bytes:
    """Build the own image and return it as a tar archive in the OCI image layout.

    Raises:
        SlipwayError: Go did not build it.
    """
    with temporary_folder(cache_path(), "pause") as folder:
        binary = folder / "pause"
        argv = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(binary), str(PAUSE_SOURCE)]
        env = {"CGO_ENABLED": "0", "GOWORK": "off", "GOTMPDIR": str(folder)}
        result = run(argv, cwd=folder, env=env, timeout=BUILD_SECONDS)
        if result.code:
            raise SlipwayError(
                "Go could not build the pods' sandbox", remedy="See the output above.", detail=result.tail()
            )
        return pack_image(binary.read_bytes(), ARCHITECTURES[platform.machine().lower()])


def pack_image(program: bytes, architecture: str) -> bytes:
    """Return an OCI archive of an image that holds one program, as /pause, and runs it as nobody."""
    layer = _make_tar({"pause": program}, mode=0o755)
    blobs = {_digest(layer): layer}

    def blob(kind: str, document: Any) -> dict[str, Any]:
        data = json.dumps(document).encode()
        blobs[_digest(data)] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": _digest(data), "size": len(data)}

    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    layer_descriptor = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": _digest(layer),
        "size": len(layer),
    }
    manifest = {"schemaVersion": 2, "config": blob("config.v1+json", config), "layers": [layer_descriptor]}
    entry = {**blob("manifest.v1+json", manifest), "annotations": {"io.containerd.image.name": OWN_IMAGE}}
    files = {f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return _make_tar(files, mode=0o644)


def ensure_image(layout: NodeLayout) -> None:
    """Give containerd, which is up, the own image where it is used.

    Raises:
        SlipwayError: it could not be built, or containerd refused it.
    """
    ctr = ["ctr", "--address", str(layout.socket), "--namespace", "k8s.io", "images"]
    if image_name() != OWN_IMAGE or OWN_IMAGE in run([*ctr, "list", "--quiet"], timeout=IMPORT_SECONDS).output.split():
        return
    with temporary_folder(cache_path(), "pause") as folder:
        file = folder / "image.tar"
        file.write_bytes(build_image_archive())
        result = run([*ctr, "import", str(file)], timeout=IMPORT_SECONDS)
    if result.code:
        raise SlipwayError(
            "containerd refused the pods' sandbox image", remedy="See the output above.", detail=result.tail()
        )


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _make_tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
