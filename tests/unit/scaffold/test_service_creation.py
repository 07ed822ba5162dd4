"""A new service is whole, has its own name, route and port, and nothing else has to be edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.conftest import TEMPLATE

from slipway._internal.model import workspace as workspaces
from slipway._internal.model.errors import ConfigError
from slipway._internal.scaffold import service_creation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace without services."""
    (tmp_path / "workspace.toml").write_text('name = "demo"\nregistry = "127.0.0.1:5000"\n', encoding="utf-8")
    shutil.copytree(TEMPLATE / "libs", tmp_path / "libs")
    return tmp_path


@pytest.mark.parametrize("kind", service_creation.list_kinds())
def test_a_service_of_each_kind_is_one_that_the_workspace_takes(root: Path, kind: str) -> None:
    folder = service_creation.create_service(root, "orders", kind)
    service = workspaces.load_workspace(root).service("orders")
    assert folder == root / "services" / "orders" == service.folder
    assert service.settings.kind == kind
    assert service.settings.args["IMAGE_TITLE"] == "orders"
    assert service_creation.NAME_PLACEHOLDER not in (folder / "service.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", service_creation.list_kinds())
def test_all_but_the_settings_is_the_kinds_own_to_the_byte(root: Path, kind: str) -> None:
    folder = service_creation.create_service(root, "orders", kind)
    for path in (service_creation.KINDS_FOLDER / kind).rglob("*"):
        if path.is_file() and path.name != "service.toml" and "__pycache__" not in path.parts:
            assert (folder / path.relative_to(service_creation.KINDS_FOLDER / kind)).read_bytes() == path.read_bytes()


def test_routes_and_ports_are_free_ones(root: Path) -> None:
    service_creation.create_initial_services(root, "demo")
    service_creation.create_service(root, "orders", "python-api")
    service_creation.create_service(root, "shop", "node-web")
    settings = {service.name: service.settings for service in workspaces.load_workspace(root).services}
    assert {name: (each.route, each.port) for name, each in settings.items()} == {
        "api": ("/api", 8000),
        "orders": ("/orders", 8001),
        "shop": ("/shop", 3001),
        "web": ("/", 3000),
        "worker": (None, None),
    }
    assert settings["orders"].route == "/orders"


def test_a_route_that_another_service_has_is_not_given_twice(root: Path) -> None:
    first = service_creation.create_service(root, "first", "python-api")
    file = first / "service.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("/first", "/orders"), encoding="utf-8")
    service_creation.create_service(root, "orders", "python-api")
    assert workspaces.load_workspace(root).service("orders").settings.route == "/orders-2"


def test_a_service_needs_the_api_where_there_is_one(root: Path) -> None:
    service_creation.create_service(root, "early", "worker")
    service_creation.create_initial_services(root, "demo")
    needs = {service.name: service.settings.needs for service in workspaces.load_workspace(root).services}
    assert needs == {"api": (), "early": (), "web": ("api",), "worker": ("api",)}
    assert '\n# needs = ["api"]\n' in (root / "services" / "early" / "service.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("answer", service_creation.INITIAL_SERVICES)
def test_each_answer_of_the_template_gives_a_workspace_that_loads(root: Path, answer: str) -> None:
    service_creation.create_initial_services(root, answer)
    assert [service.name for service in workspaces.load_workspace(root).services] == [
        name for name, _, _ in service_creation.INITIAL_SERVICES[answer]
    ]


@pytest.mark.parametrize("name", ["", "Orders", "my_shop", "-a", "a-", "1st", "a" * 41, "a/b", "..", "ä", "a b"])
def test_a_name_that_is_no_dns_label_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a service"):
        service_creation.create_service(root, name, "worker")
    assert not (root / "services").exists()


@pytest.mark.parametrize("name", ["gateway", "base-nginx"])
def test_a_name_that_slipway_needs_itself_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is a name that Slipway uses itself"):
        service_creation.create_service(root, name, "worker")


def test_an_unknown_kind_is_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        service_creation.create_service(root, "orders", "ruby-api")
    assert all(kind in caught.value.remedy for kind in ("python-api", "node-web", "worker"))


def test_a_service_that_is_there_is_not_touched(root: Path) -> None:
    folder = service_creation.create_service(root, "orders", "worker")
    (folder / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        service_creation.create_service(root, "orders", "python-api")
    assert (folder / "mine.txt").read_text(encoding="utf-8") == "kept"


def test_a_folder_that_a_change_of_branches_left_is_named_as_that(root: Path) -> None:
    (root / "services" / "orders" / "__pycache__").mkdir(parents=True)
    (root / "services" / "orders" / "__pycache__" / "a.pyc").touch()
    with pytest.raises(ConfigError, match="a change of branches leaves that") as caught:
        service_creation.create_service(root, "orders", "worker")
    assert "rm -r services/orders" in caught.value.remedy


def test_a_refused_service_leaves_nothing_behind(root: Path) -> None:
    shutil.rmtree(root / "libs")
    with pytest.raises(ConfigError, match="libs/common"):
        service_creation.create_service(root, "orders", "python-api")
    assert list((root / "services").iterdir()) == []


def test_a_broken_neighbour_is_named(root: Path) -> None:
    service_creation.create_service(root, "orders", "worker")
    (root / "services" / "orders" / "service.toml").write_text("route = ", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"orders/service\.toml"):
        service_creation.create_service(root, "shop", "node-web")


def test_a_teams_own_kinds_stand_beside_slipways_and_before_one_of_the_same_name(root: Path) -> None:
    for kind in ("go-api", "worker"):
        (root / "kinds" / kind).mkdir(parents=True)
        (root / "kinds" / kind / "service.toml").write_text(f'kind = "{kind}"\nport = 8000\nroute = "/SERVICE"\n')
        (root / "kinds" / kind / "Dockerfile").write_text(f"# {kind} of our own\n")
    (root / "kinds" / "notes").mkdir()
    assert service_creation.list_kinds(root) == sorted({*service_creation.list_kinds(), "go-api"})
    for kind in ("go-api", "worker"):
        folder = service_creation.create_service(root, f"our-{kind}", kind)
        assert (folder / "Dockerfile").read_text() == f"# {kind} of our own\n"
        assert f'route = "/our-{kind}"' in (folder / "service.toml").read_text()
    with pytest.raises(ConfigError, match="no kind 'ruby'") as caught:
        service_creation.create_service(root, "orders", "ruby")
    assert "go-api" in caught.value.remedy and "python-api" in caught.value.remedy
