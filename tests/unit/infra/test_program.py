"""The template's program: what it declares of an external stack, what it exports, and what it puts in their place."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pulumi
import pytest

import infra
from slipway._internal.model import lock
from slipway._internal.model import stack as stacks
from slipway._internal.model.deploy_inputs import DeployInputs
from slipway._internal.model.lock import LockEntry
from slipway._internal.model.workspace import load_workspace
from tests import synthetic

program = importlib.import_module(f"{infra.__name__}.__main__").program
NAMES = ("service-000", "service-001")


def ref(name: str, letter: str = "a") -> str:
    return f"127.0.0.1:1/many/{name}@sha256:{letter * 64}"


class Declared(pulumi.runtime.Mocks):
    """Keeps what is declared, by its kind."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.objects.setdefault(args.typ.rpartition(":")[2], []).append(args.inputs)
        outputs = {"live": "r1", "good": [], "releases": [{"id": "r1"}], "newest": {"id": "r1"}}
        return f"{args.name}-id", {**args.inputs, **outputs, "url": "http://127.0.0.1:8080", "text": "x"}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"nothing is asked for: {args.token}")


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeployInputs:
    synthetic.workspace(tmp_path, len(NAMES))
    (tmp_path / "infra" / "Pulumi.yaml").write_text("name: many\nbackend:\n  url: file://../.slipway/state\n")
    (tmp_path / "infra" / "Pulumi.dev.yaml").write_text(
        "config:\n  slipway:images: external\n  slipway:protected: false\n"
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    entries = {name: LockEntry(ref(name), "c" * 64) for name in NAMES}
    beside = {lock.GATEWAY: ref("gateway")}
    return DeployInputs(load_workspace(tmp_path), stacks.load(tmp_path, "dev", {}), entries, beside)


def declare(inputs: DeployInputs, *overrides: dict[str, str]) -> tuple[Declared, dict[str, Any]]:
    """Run the program; return what it declares and exports."""
    found, exports = Declared(), dict[str, Any]()
    pulumi.runtime.set_mocks(found, project="many", stack="dev")

    def run() -> None:
        program(inputs, *overrides)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi, "export", exports.__setitem__)
        pulumi.runtime.test(run)()
    return found, exports


def test_an_external_stack_runs_what_its_lock_names_behind_one_gateway(inputs: DeployInputs) -> None:
    found, exports = declare(inputs)
    assert sorted(container["image"] for container in found.objects["Container"]) == sorted(map(ref, NAMES))
    assert [gateway["image"] for gateway in found.objects["Gateway"]] == [ref("gateway")]
    assert len(found.objects["Network"]) == len(found.objects["Release"]) == len(found.objects["Live"]) == 1
    assert "Image" not in found.objects, "nothing is built"
    assert set(exports) == {"images", "urls", "live", "releases"}
    assert exports["images"] == {name: ref(name) for name in NAMES}


def test_images_that_ran_before_take_the_place_of_the_locks(inputs: DeployInputs) -> None:
    before = {"service-001": ref("service-001", "b")}
    found, exports = declare(inputs, before)
    assert exports["images"] == {"service-000": ref("service-000"), **before}
    assert before["service-001"] in [container["image"] for container in found.objects["Container"]]
