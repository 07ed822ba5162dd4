"""Whose objects on an engine are, and what is said where they are another's."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.project import Project
from slipway._internal.run import owner
from slipway._internal.run.engine import DATA_LABEL
from slipway._internal.run.owner import (
    FOLDER_LABEL,
    HOST_LABEL,
    OWNER_LABEL,
    STATE_LABEL,
    DeployedObject,
    StateOwner,
    owner_of,
    refuse_others,
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    return workspace(tmp_path / "one")


def workspace(root: Path, url: str = "file://../.slipway/state") -> Path:
    (root / "infra").mkdir(parents=True)
    (root / "infra" / "Pulumi.yaml").write_text(f"name: shop\nbackend:\n  url: {url}\n")
    return root


def made_by(who: StateOwner, kind: str = "container") -> DeployedObject:
    return DeployedObject(kind, "shop-dev-api-1", "id-1", {"slipway.workspace": "shop", **who.labels})


def test_a_state_folder_keeps_its_id(root: Path) -> None:
    first = owner_of(Project(root))
    assert (root / ".slipway" / "state" / owner.OWNER_FILE).read_text().strip() == first.id
    owner._cached_owner.cache_clear()
    assert owner_of(Project(root)) == first


def test_looking_makes_no_state_folder(root: Path) -> None:
    assert owner_of(Project(root), make=False).id == owner.NO_OWNER
    assert not (root / ".slipway").exists()


def test_an_empty_id_is_written_anew(root: Path) -> None:
    path = root / ".slipway" / "state" / owner.OWNER_FILE
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert owner_of(Project(root)).id and owner_of(Project(root)).id == path.read_text().strip()


def test_two_clones_are_two_owners(root: Path, tmp_path: Path) -> None:
    one, two = owner_of(Project(root)), owner_of(Project(workspace(tmp_path / "two")))
    assert one.classify(made_by(two).labels) == "other"
    with pytest.raises(ConfigError, match="deployed from") as caught:
        refuse_others(one, "dev", [made_by(two)], tuple)
    assert str(tmp_path / "two") in caught.value.message
    assert "--beside" in caught.value.remedy


def test_two_clones_with_one_shared_state_are_one_owner(tmp_path: Path) -> None:
    one = owner_of(Project(workspace(tmp_path / "one", "s3://team-state")))
    two = owner_of(Project(workspace(tmp_path / "two", "s3://team-state")))
    assert two.classify(made_by(one).labels) == "own"
    assert two.classify(made_by(owner_of(Project(workspace(tmp_path / "three", "s3://others")))).labels) == "other"


def test_a_backends_password_is_in_no_label(tmp_path: Path) -> None:
    found = owner_of(Project(workspace(tmp_path / "one", "https://me:secret@pulumi.example")))
    assert "secret" not in repr(found) and "pulumi.example" in found.id


def test_a_folder_that_was_moved_is_the_same_owner(root: Path, tmp_path: Path) -> None:
    thing = made_by(owner_of(Project(root)))
    root.rename(tmp_path / "moved")
    assert owner_of(Project(tmp_path / "moved")).classify(thing.labels) == "own"


def test_a_folder_copied_with_its_state_is_refused_whatever_that_knows(root: Path, tmp_path: Path) -> None:
    thing = made_by(owner_of(Project(root)))
    shutil.copytree(root, tmp_path / "copy")
    copy = owner_of(Project(tmp_path / "copy"))
    with pytest.raises(ConfigError, match="is a copy of") as caught:
        refuse_others(copy, "dev", [thing], lambda: ["id-1"])
    assert str(tmp_path / "copy" / ".slipway" / "state") in caught.value.remedy
    assert owner_of(Project(root)).classify(thing.labels) == "own"


def test_a_state_that_was_removed_and_begun_anew_in_its_place_is_the_same_owner(root: Path) -> None:
    thing = made_by(owner_of(Project(root)))
    shutil.rmtree(root / ".slipway")
    owner._cached_owner.cache_clear()
    again = owner_of(Project(root))
    assert again.id != thing.labels[OWNER_LABEL]
    assert again.classify(thing.labels) == "own"


def test_a_state_that_went_to_another_backend_knows_its_objects(root: Path, tmp_path: Path) -> None:
    thing = made_by(owner_of(Project(root)))
    shared = owner_of(Project(workspace(tmp_path / "two", "s3://team-state")))
    refuse_others(shared, "dev", [thing], lambda: ["id-1"])
    with pytest.raises(ConfigError):
        refuse_others(shared, "dev", [thing], tuple)


def test_the_same_path_on_another_machine_is_another_owner(root: Path) -> None:
    mine = owner_of(Project(root))
    labels = {OWNER_LABEL: "x", FOLDER_LABEL: mine.folder, STATE_LABEL: mine.state, HOST_LABEL: "elsewhere/0"}
    with pytest.raises(ConfigError, match="on elsewhere") as caught:
        refuse_others(mine, "dev", [DeployedObject("network", "shop-dev", "n", labels)], tuple)
    assert "--abandoned" in caught.value.remedy


def test_a_folder_that_is_gone_is_said_to_be_with_the_way_to_take_over(root: Path, tmp_path: Path) -> None:
    two = workspace(tmp_path / "two")
    thing = made_by(owner_of(Project(two)))
    shutil.rmtree(two)
    with pytest.raises(ConfigError, match="that folder is gone") as caught:
        refuse_others(owner_of(Project(root)), "dev", [thing], tuple)
    assert "invoke down --stack dev --abandoned" in caught.value.remedy


def test_data_of_a_folder_that_is_gone_are_named_with_the_command_that_removes_them(root: Path, tmp_path: Path) -> None:
    two = workspace(tmp_path / "two")
    thing = made_by(owner_of(Project(two)))
    data = replace(thing, kind="volume", name="shop-dev-db.data", id="v", labels={**thing.labels, DATA_LABEL: "true"})
    with pytest.raises(ConfigError, match="deployed from") as caught:
        refuse_others(owner_of(Project(root)), "dev", [data], tuple)
    assert "`invoke down --stack dev --volumes` there" in caught.value.remedy
    shutil.rmtree(two)
    with pytest.raises(ConfigError, match=r"the volume shop-dev-db\.data has data .* that folder is gone") as caught:
        refuse_others(owner_of(Project(root)), "dev", [data], tuple)
    assert "`docker volume rm shop-dev-db.data`" in caught.value.remedy
    with pytest.raises(ConfigError) as caught:  # what runs goes first
        refuse_others(owner_of(Project(root)), "dev", [data, thing], tuple)
    assert "--abandoned" in caught.value.remedy


def test_objects_of_an_earlier_version_are_adopted_where_the_state_knows_one_of_them(root: Path) -> None:
    old = [
        DeployedObject("container", "shop-dev-api-1", "id-1", {}),
        DeployedObject("container", "shop-dev-gateway", "id-2", {}),
    ]
    refuse_others(owner_of(Project(root)), "dev", old, lambda: ["id-2"])
    with pytest.raises(ConfigError, match="an earlier version of Slipway made shop-dev-api-1, shop-dev-gateway"):
        refuse_others(owner_of(Project(root)), "dev", old, tuple)


def test_a_second_owner_of_a_namespace_is_refused_in_its_own_words(root: Path, tmp_path: Path) -> None:
    two = owner_of(Project(workspace(tmp_path / "two")))
    with pytest.raises(ConfigError, match="in this cluster") as caught:
        refuse_others(owner_of(Project(root)), "dev", [DeployedObject("namespace", "shop-dev", "", two.labels)], tuple)
    assert "kubectl delete namespace shop-dev" in caught.value.remedy


def test_a_folder_that_this_user_may_not_look_into_is_not_taken_for_gone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = owner_of(Project(workspace(tmp_path / "private" / "two")))
    whole = Path.stat

    def stat(path: Path, **options: bool) -> object:
        if path.is_relative_to(tmp_path / "private"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert not owner.is_folder_gone(owner_of(Project(root)), other.labels)
    with pytest.raises(ConfigError) as caught:
        refuse_others(owner_of(Project(root)), "dev", [made_by(other)], tuple)
    assert "gone" not in caught.value.message and "--abandoned" not in caught.value.remedy
