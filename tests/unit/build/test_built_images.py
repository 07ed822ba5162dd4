"""What the registry has is taken; what it lacks, Pulumi builds: below one component, by its content's tag."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from tests.conftest import TEMPLATE
from tests.unit.targets.kubernetes.declared import Declared, RecordingMonitor

from slipway._internal.model import bases_lock
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import registry
from slipway._internal.scaffold import service_creation
from slipway.pulumi import BuiltImages

DIGEST = f"sha256:{'a' * 64}"


class Built(Declared):
    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        identity, outputs = super().new_resource(args)
        return identity, {**outputs, "digest": DIGEST}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.toml").write_text('name = "demo"\nregistry = "127.0.0.1:5000"\n')
    shutil.copytree(TEMPLATE / "libs", tmp_path / "libs")
    service_creation.create_initial_services(tmp_path, "demo")
    names = ("python-build", "python-run", "node-build", "node-run", "envoy")
    bases_lock.save(
        tmp_path, bases_lock.BasesLock("official", {name: f"reg.example/{name}@{DIGEST}" for name in names})
    )
    return tmp_path


def declare(root: Path, services: list[str], *, preview: bool = False) -> tuple[Built, dict[str, Any]]:
    built, found = Built(), {}
    pulumi.runtime.set_mocks(built, project="demo", stack="dev", preview=preview, monitor=RecordingMonitor(built))

    def program() -> None:
        refs = BuiltImages("images", workspaces.load_workspace(root), services).refs
        pulumi.Output.all(**refs).apply(found.update)

    pulumi.runtime.test(program)()
    return built, found


def test_only_what_the_registry_lacks_is_built(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(tags: Iterable[str], _workspace: object) -> dict[str, str | None]:
        return {tag: "sha256:" + "b" * 64 if "/web:" in tag else None for tag in tags}

    monkeypatch.setattr(registry, "resolve_digests", resolve)
    built, refs = declare(root, ["api", "web"])
    assert refs == {
        "api": f"127.0.0.1:5000/demo/api@{DIGEST}",
        "web": f"127.0.0.1:5000/demo/web@sha256:{'b' * 64}",
    }
    assert built.objects.keys() == {("Image", "api")} == built.flat
    assert built.tree["Image", "api"] == ("BuiltImages", "images")
    image = built["Image", "api"]
    (tag,) = image["tags"]
    assert tag.startswith("127.0.0.1:5000/demo/api:")
    assert image["context"]["location"] == "../services/api", "the same in every clone"
    assert image["buildOnPreview"] is False


def test_a_registry_that_does_not_answer_ends_a_deploy_and_not_a_preview(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(tags: Iterable[str], _workspace: object) -> dict[str, str | None]:
        raise SlipwayError("the registry does not answer")

    monkeypatch.setattr(registry, "resolve_digests", resolve)
    built, _ = declare(root, ["api"], preview=True)
    assert ("Image", "api") in built.objects
    with pytest.raises(SlipwayError, match="does not answer"):
        declare(root, ["api"])


def test_nothing_is_read_where_nothing_is_to_be_built(root: Path) -> None:
    shutil.rmtree(root / "bases")
    built, refs = declare(root, [])
    assert not built.objects and not refs
    assert ("BuiltImages", "images") in built.tree
