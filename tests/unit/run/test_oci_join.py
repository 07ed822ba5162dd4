"""Layouts of one platform each become one of several, with the index that BuildKit would write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from slipway._internal.run.oci import INDEX_TYPE, MANIFEST_TYPE, merge_platforms, oci_digest, verify_layout


def layout(folder: Path, text: bytes) -> str:
    """Make a layout of an image with a layer of its own and one that all share; return its digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    manifest = put(json.dumps({"config": put(b"{}" + text), "layers": [put(b"shared"), put(text)]}).encode())
    (folder / "index.json").write_text(json.dumps({"manifests": [{**manifest, "mediaType": MANIFEST_TYPE}]}))
    return str(manifest["digest"])


def test_the_parts_become_one_index_in_order_and_every_blob_is_there(tmp_path: Path) -> None:
    digests = {name: layout(tmp_path / name, name.encode()) for name in ("arm64", "amd64", "arm")}
    names = {"linux/arm64": "arm64", "linux/amd64": "amd64", "linux/arm/v7": "arm"}
    merge_platforms({platform: tmp_path / name for platform, name in names.items()}, tmp_path / "whole")
    digest = verify_layout(tmp_path / "whole")
    assert digest == oci_digest(tmp_path / "whole")
    text = (tmp_path / "whole" / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes()
    assert text.startswith(b'{\n  "schemaVersion": 2,\n  "mediaType": "application/vnd.oci.image.index.v1+json",\n')
    assert not text.endswith(b"\n")
    index = json.loads(text)
    assert index["mediaType"] == INDEX_TYPE
    assert [(each["digest"], each["platform"]) for each in index["manifests"]] == [
        (digests["amd64"], {"architecture": "amd64", "os": "linux"}),
        (digests["arm"], {"architecture": "arm", "os": "linux", "variant": "v7"}),
        (digests["arm64"], {"architecture": "arm64", "os": "linux"}),
    ]
