"""The digest of what a build left is read, and checked against the bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.run.oci import hardlink_shared_blobs, oci_digest, remove_unreferenced_blobs, verify_layout


def layout(folder: Path, *manifests: bytes, names: int = 1) -> list[str]:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    digests = []
    for manifest in manifests:
        value = hashlib.sha256(manifest).hexdigest()
        (blobs / value).write_bytes(manifest)
        digests.append(f"sha256:{value}")
    index = {"manifests": [{"digest": digest} for digest in digests for _ in range(names)]}
    (folder / "index.json").write_text(json.dumps(index))
    return digests


def test_a_folder_and_an_archive_of_it_have_the_same_digest(tmp_path: Path) -> None:
    [digest] = layout(tmp_path / "oci", b"{}")
    assert oci_digest(tmp_path / "oci") == digest
    for number, top in enumerate((".", "")):
        packed = tmp_path / f"{number}.tar"
        with tarfile.open(packed, "w") as archive:
            for path in (tmp_path / "oci").rglob("*"):
                archive.add(path, f"{top}/{path.relative_to(tmp_path / 'oci')}".lstrip("/"), recursive=False)
        assert oci_digest(packed) == digest


def test_one_image_with_several_names_is_one_image(tmp_path: Path) -> None:
    [digest] = layout(tmp_path, b"{}", names=3)
    assert oci_digest(tmp_path) == digest


def test_several_images_or_none_are_refused(tmp_path: Path) -> None:
    layout(tmp_path / "two", b"1", b"2")
    with pytest.raises(SlipwayError, match="2 images instead of one"):
        oci_digest(tmp_path / "two")
    layout(tmp_path / "none")
    with pytest.raises(SlipwayError, match="0 images"):
        oci_digest(tmp_path / "none")


def test_damage_is_noticed(tmp_path: Path) -> None:
    [digest] = layout(tmp_path, b"{}")
    manifest = tmp_path / "blobs" / digest.replace(":", "/")
    manifest.write_bytes(b"{ }")
    with pytest.raises(SlipwayError, match="changed or damaged"):
        oci_digest(tmp_path)
    manifest.unlink()
    with pytest.raises(SlipwayError, match="is missing"):
        oci_digest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifests": [{}]}', '{"manifests": 1}'])
def test_what_is_no_layout_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(SlipwayError, match="not an OCI layout"):
        oci_digest(tmp_path)
    file = tmp_path / "file"
    file.write_text("no archive")
    with pytest.raises(SlipwayError, match="not an OCI layout"):
        oci_digest(file)
    with pytest.raises(SlipwayError, match="not an OCI layout"):
        oci_digest(tmp_path / "missing")


def whole(folder: Path) -> dict[str, Path]:
    """Make a layout of an index with one image and return its blobs by name."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    made = {}

    def put(name: str, kind: str, content: bytes) -> dict[str, object]:
        value = hashlib.sha256(content).hexdigest()
        made[name] = blobs / value
        made[name].write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{value}", "size": len(content)}

    config, layer = put("config", "config.v1+json", b"{}"), put("layer", "layer.v1.tar", b"bytes")
    image = put("image", "manifest.v1+json", json.dumps({"config": config, "layers": [layer]}).encode())
    index = put("index", "index.v1+json", json.dumps({"manifests": [image]}).encode())
    (folder / "index.json").write_text(json.dumps({"manifests": [index]}))
    return made


@pytest.mark.parametrize("name", ["config", "layer", "image"])
def test_a_layout_is_checked_to_its_last_byte(tmp_path: Path, name: str) -> None:
    blobs = whole(tmp_path / "oci")
    assert verify_layout(tmp_path / "oci") == oci_digest(tmp_path / "oci") == f"sha256:{blobs['index'].name}"
    before = blobs[name].read_bytes()
    blobs[name].write_bytes(before[:-1] + b"X")
    with pytest.raises(GateRefused, match=f"the bytes of sha256:{blobs[name].name}"):
        verify_layout(tmp_path / "oci")
    blobs[name].unlink()
    with pytest.raises(GateRefused, match="is missing"):
        verify_layout(tmp_path / "oci")


def test_a_size_that_is_not_the_blob_s_is_refused(tmp_path: Path) -> None:
    blobs = whole(tmp_path / "oci")
    index = json.loads((tmp_path / "oci" / "index.json").read_text())
    index["manifests"][0]["size"] += 1
    (tmp_path / "oci" / "index.json").write_text(json.dumps(index))
    with pytest.raises(GateRefused, match=f"{blobs['index'].name} has .* bytes instead of"):
        verify_layout(tmp_path / "oci")


def test_a_new_layout_gets_the_layers_of_earlier_ones_and_keeps_what_it_names(tmp_path: Path) -> None:
    old, new = whole(tmp_path / "old"), tmp_path / "new"
    hardlink_shared_blobs([tmp_path / "none", tmp_path / "old"], new)
    lent = new / "blobs" / "sha256"
    assert [blob.name for blob in lent.iterdir()] == [old["layer"].name]
    assert (lent / old["layer"].name).samefile(old["layer"])
    for name in ("config", "image", "index"):
        shutil.copy(old[name], lent)
    shutil.copy(tmp_path / "old" / "index.json", new)
    (lent / "0").write_bytes(b"of the image before")
    remove_unreferenced_blobs(new)
    assert {blob.name for blob in lent.iterdir()} == {blob.name for blob in old.values()}
    assert verify_layout(new) == verify_layout(tmp_path / "old")


def test_what_is_damaged_is_not_lent(tmp_path: Path) -> None:
    old = whole(tmp_path / "old")
    old["layer"].write_bytes(b"byt")
    hardlink_shared_blobs([tmp_path / "old"], tmp_path / "new")
    old["image"].write_bytes(b"")
    hardlink_shared_blobs([tmp_path / "old"], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(SlipwayError, match="is not an OCI layout") as refused:
        remove_unreferenced_blobs(tmp_path / "old")
    assert "Remove it" in refused.value.remedy


def test_without_earlier_layouts_nothing_is_lent(tmp_path: Path) -> None:
    hardlink_shared_blobs(tmp_path.glob("none/*"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
