"""The image that holds a pod's namespaces, as an OCI archive."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run.process import ProcessResult
from slipway._internal.toolchain.cluster import sandbox
from slipway._internal.toolchain.cluster.layout import NodeLayout
from slipway._internal.toolchain.cluster.sandbox import OWN_IMAGE, UPSTREAM_IMAGE, pack_image


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


class Machine:
    """A machine with Go and containerd, unless a test says that one of them fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[list[str]] = []
        self.has, self.fails = "", ""
        self.imported = b""
        monkeypatch.setattr(sandbox, "run", self.run)
        monkeypatch.setattr(sandbox.shutil, "which", lambda name: f"/usr/bin/{name}")

    def run(self, argv: list[str], **_: object) -> ProcessResult:
        self.commands.append(argv)
        if self.fails and self.fails in argv:
            return ProcessResult(1, "no space left on device")
        if argv[0] == "go":
            Path(argv[argv.index("-o") + 1]).write_bytes(b"program")
        elif argv[-2] == "import":
            self.imported = Path(argv[-1]).read_bytes()
        return ProcessResult(0, self.has)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "x86_64")
    return Machine(monkeypatch)


def test_the_own_image_is_built_and_given_to_containerd_once(machine: Machine, tmp_path: Path) -> None:
    sandbox.ensure_image(NodeLayout(tmp_path))
    assert machine.imported == pack_image(b"program", "amd64")
    assert [command[:2] for command in machine.commands] == [
        ["ctr", "--address"],
        ["go", "build"],
        ["ctr", "--address"],
    ]
    machine.has = f"docker.io/library/x:1\n{OWN_IMAGE}\n"
    machine.commands.clear()
    sandbox.ensure_image(NodeLayout(tmp_path))
    assert len(machine.commands) == 1


def test_without_go_kubernetes_own_image_is_taken_and_nothing_is_built(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda _name: None)
    sandbox.ensure_image(NodeLayout(tmp_path))
    assert sandbox.image_name() == UPSTREAM_IMAGE and machine.commands == []


@pytest.mark.parametrize(("fails", "said"), [("build", "Go"), ("import", "containerd")])
def test_what_refuses_the_image_is_named_with_its_words(
    machine: Machine, tmp_path: Path, fails: str, said: str
) -> None:
    machine.fails = fails
    with pytest.raises(SlipwayError, match=said) as caught:
        sandbox.ensure_image(NodeLayout(tmp_path))
    assert "no space left" in caught.value.detail
