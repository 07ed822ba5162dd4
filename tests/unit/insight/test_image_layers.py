"""An image's layers are read from what was built here, and then known for good."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from slipway._internal.insight.image_layers import Layer, read_layers, remove_unneeded
from slipway._internal.model.workspace import Workspace, load_workspace
from tests import synthetic

HISTORY = [{"created_by": "COPY base"}, {"created_by": "ENV x", "empty_layer": True}, {"created_by": "COPY app"}]
LAYERS = [{"digest": "sha256:a", "size": 1000}, {"digest": "sha256:b", "size": 20}]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return load_workspace(synthetic.workspace(tmp_path, 1))


def blob(layout: Path, content: dict[str, Any]) -> str:
    data = json.dumps(content).encode()
    name = hashlib.sha256(data).hexdigest()
    path = layout / "blobs" / "sha256" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"sha256:{name}"


def image(layout: Path, history: list[dict[str, Any]]) -> str:
    config = blob(layout, {"history": history})
    return blob(layout, {"config": {"digest": config}, "layers": LAYERS})


def layout_of(workspace: Workspace) -> Path:
    return workspace.scratch / "oci" / "api" / ("0" * 64)


def test_layers_have_their_size_and_what_made_them(workspace: Workspace) -> None:
    digest = image(layout_of(workspace), HISTORY)
    assert read_layers(workspace, {"api": digest})["api"] == [
        Layer("sha256:a", 1000, "COPY base"),
        Layer("sha256:b", 20, "COPY app"),
    ]


def test_of_several_platforms_the_first_is_told(workspace: Workspace) -> None:
    layout = layout_of(workspace)
    digest = blob(layout, {"manifests": [{"digest": image(layout, HISTORY)}]})
    assert [layer.size for layer in read_layers(workspace, {"api": digest})["api"]] == [1000, 20]


def test_a_base_may_come_without_its_history(workspace: Workspace) -> None:
    digest = image(layout_of(workspace), HISTORY[2:])
    assert [layer.made_by for layer in read_layers(workspace, {"api": digest})["api"]] == ["", "COPY app"]


def test_what_is_known_of_a_digest_is_asked_of_nobody_again(workspace: Workspace) -> None:
    digest = image(layout_of(workspace), HISTORY)
    first = read_layers(workspace, {"api": digest})
    shutil.rmtree(workspace.scratch / "oci")
    assert read_layers(workspace, {"api": f"127.0.0.1:1/x/api@{digest}"}) == first
    remove_unneeded(workspace, [digest])
    assert read_layers(workspace, {"api": digest}) == first
    remove_unneeded(workspace, [])
    assert read_layers(workspace, {"api": digest}) == {}


def test_an_image_that_is_nowhere_to_be_had_is_left_out(workspace: Workspace) -> None:
    assert read_layers(workspace, {"api": f"127.0.0.1:1/x/api@sha256:{'0' * 64}", "web": "sha256:1"}) == {}
