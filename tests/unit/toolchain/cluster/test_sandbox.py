"""The image that holds a pod's namespaces, as an OCI archive."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

from slipway._internal.toolchain.cluster.sandbox import OWN_IMAGE, pack_image


def test_every_blob_is_named_by_its_digest_and_the_program_is_its_entrypoint() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack_image(b"program", "amd64"))) as tar:
        files = {each.name: tar.extractfile(each).read() for each in tar.getmembers()}  # type: ignore[union-attr]
    blobs = {name.rpartition("/")[2]: data for name, data in files.items() if name.startswith("blobs/sha256/")}
    assert all(hashlib.sha256(data).hexdigest() == name for name, data in blobs.items())
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": OWN_IMAGE}
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["config"] == {"Entrypoint": ["/pause"], "User": "65535:65535"}
    with tarfile.open(fileobj=io.BytesIO(blobs[config["rootfs"]["diff_ids"][0].removeprefix("sha256:")])) as layer:
        (program,) = layer.getmembers()
    assert (program.name, program.mode) == ("pause", 0o755)


def test_the_same_program_gives_the_same_image() -> None:
    assert pack_image(b"program", "amd64") == pack_image(b"program", "amd64")
