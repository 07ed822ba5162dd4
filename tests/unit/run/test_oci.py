"""The digest of what a build left is read, and checked against the bytes."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from slipway.model.errors import SlipwayError
from slipway.run.oci import oci_digest


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
    with pytest.raises(SlipwayError, match="no OCI layout"):
        oci_digest(tmp_path)
    file = tmp_path / "file"
    file.write_text("no archive")
    with pytest.raises(SlipwayError, match="no OCI layout"):
        oci_digest(file)
    with pytest.raises(SlipwayError, match="no OCI layout"):
        oci_digest(tmp_path / "missing")
