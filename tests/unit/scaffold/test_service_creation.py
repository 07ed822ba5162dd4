"""A new service is whole, has its own name, route and port, and nothing else has to be edited."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import TEMPLATE

from slipway._internal.content.digest import content_digest
from slipway._internal.content.service_inputs import build_inputs_of
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
    service_creation.create_initial_services(root, "full")
    service_creation.create_service(root, "orders", "python-api")
    service_creation.create_service(root, "shop", "node-web")
    settings = {service.name: service.settings for service in workspaces.load_workspace(root).services}
    assert {name: (each.route, each.port) for name, each in settings.items()} == {
        "api": ("/api", 8000),
        "db": (None, 5432),
        "orders": ("/orders", 8001),
        "shop": ("/shop", 3001),
        "web": ("/", 3000),
        "worker": (None, None),
    }
    assert settings["orders"].route == "/orders"


def test_a_release_command_needs_what_its_service_needs(root: Path) -> None:
    early = service_creation.create_service(root, "early", "python-api")
    assert '\n# release = ["python", "-m", "app.migrate"]\n' in (early / "service.toml").read_text(encoding="utf-8")
    service_creation.create_initial_services(root, "full")
    assert workspaces.load_workspace(root).service("api").settings.release == ("python", "-m", "app.migrate")


def test_a_route_that_another_service_has_is_not_given_twice(root: Path) -> None:
    first = service_creation.create_service(root, "first", "python-api")
    file = first / "service.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("/first", "/orders"), encoding="utf-8")
    service_creation.create_service(root, "orders", "python-api")
    assert workspaces.load_workspace(root).service("orders").settings.route == "/orders-2"


def test_a_service_needs_the_api_where_there_is_one(root: Path) -> None:
    service_creation.create_service(root, "early", "worker")
    service_creation.create_initial_services(root, "full")
    needs = {service.name: service.settings.needs for service in workspaces.load_workspace(root).services}
    assert needs == {"api": ("db",), "db": (), "early": (), "web": ("api",), "worker": ("api",)}
    assert '\n# needs = ["api"]\n' in (root / "services" / "early" / "service.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("answer", service_creation.INITIAL_SERVICES)
def test_each_answer_of_the_template_gives_a_workspace_that_loads(root: Path, answer: str) -> None:
    service_creation.create_initial_services(root, answer)
    assert [service.name for service in workspaces.load_workspace(root).services] == sorted(
        name for name, _, _ in service_creation.INITIAL_SERVICES[answer]
    )


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
        service_creation.create_service(root, "orders", "cobol")
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
    for kind in ("ruby-api", "worker"):
        (root / "kinds" / kind).mkdir(parents=True)
        (root / "kinds" / kind / "service.toml").write_text(f'kind = "{kind}"\nport = 8000\nroute = "/SERVICE"\n')
        (root / "kinds" / kind / "Dockerfile").write_text(f"# {kind} of our own\n")
    (root / "kinds" / "notes").mkdir()
    assert service_creation.list_kinds(root) == sorted({*service_creation.list_kinds(), "ruby-api"})
    for kind in ("ruby-api", "worker"):
        folder = service_creation.create_service(root, f"our-{kind}", kind)
        assert (folder / "Dockerfile").read_text() == f"# {kind} of our own\n"
        assert f'route = "/our-{kind}"' in (folder / "service.toml").read_text()
    with pytest.raises(ConfigError, match="no kind 'ruby'") as caught:
        service_creation.create_service(root, "orders", "ruby")
    assert "ruby-api" in caught.value.remedy and "python-api" in caught.value.remedy


KIND = 'kind = "ours"\nroute = "/SERVICE"\nport = 8000\n'


@pytest.fixture
def ours(root: Path) -> Path:
    """A team's own kind, with a folder of code."""
    folder = root / "kinds" / "ours"
    (folder / "app").mkdir(parents=True)
    (folder / "service.toml").write_text(KIND, encoding="utf-8")
    (folder / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (folder / "app" / "main.txt").write_text("code", encoding="utf-8")
    return folder


def create(root: Path, kind: str = "ours") -> Path:
    """Add a service as `invoke new` does."""
    return service_creation.create_service(
        root, "orders", kind, check=lambda folder: workspaces.read_service(root, "orders", folder)
    )


def refused(root: Path, kind: str = "ours") -> ConfigError:
    """Return why a kind is refused; nothing of a service may be left."""
    with pytest.raises(ConfigError) as caught:
        create(root, kind)
    assert not any((root / "services").glob("*")) and caught.value.remedy
    return caught.value


def test_a_folder_without_a_service_toml_is_told_from_an_unknown_kind(root: Path, ours: Path) -> None:
    (ours / "service.toml").unlink()
    assert f"{ours / 'service.toml'} is missing" in refused(root).message


def test_folders_that_are_set_aside_are_no_kinds(root: Path, ours: Path) -> None:
    for name in (".ours", "_ours"):
        shutil.copytree(ours, ours.with_name(name))
        assert name not in service_creation.list_kinds(root)


def test_a_kind_without_a_dockerfile_is_refused(root: Path, ours: Path) -> None:
    (ours / "Dockerfile").unlink()
    assert f"{ours / 'Dockerfile'} is missing" in refused(root).message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"route = ", "cannot be read"),
        (b"\xff\xfe", "UTF-8"),
        (KIND.encode() + b"colour = 3\n", "colour"),
        (KIND.encode() + b"libs = 3\n", "libs"),
        (KIND.encode() + b"libs = [3]\n", "libs"),
        (KIND.encode() + b'needs = "api"\n', "needs"),
        (b'kind = "ours"\nroute = "/SERVICE"\n', "needs a `port`"),
        (KIND.encode() + b'libs = ["none"]\n', "libs/none"),
    ],
)
def test_a_kind_whose_settings_are_wrong_is_refused_by_its_own_file(
    root: Path, ours: Path, text: bytes, said: str
) -> None:
    (ours / "service.toml").write_bytes(text)
    error = refused(root)
    assert said in error.message
    assert "/services/" not in error.message
    assert str(ours) in error.message or "a ours takes files" in error.message


def test_a_kind_with_a_lib_of_its_own_has_it(root: Path, ours: Path) -> None:
    (root / "libs" / "ours").mkdir()
    (root / "libs" / "ours" / "code.txt").touch()
    (ours / "service.toml").write_text(f'{KIND}libs = ["ours"]\n', encoding="utf-8")
    create(root)
    assert workspaces.load_workspace(root).service("orders").settings.libs == ("ours",)


def test_needs_in_several_lines_become_comments_together(root: Path, ours: Path) -> None:
    (ours / "service.toml").write_text(f'{KIND}needs = [\n  "api",\n  "queue",\n]\ndrain = 5\n', encoding="utf-8")
    create(root)
    settings = workspaces.load_workspace(root).service("orders").settings
    assert (settings.needs, settings.drain) == ((), 5)


def make_dangling(kind: Path) -> None:
    (kind / "app" / "link").symlink_to("nowhere")


def make_outward(kind: Path) -> None:
    (kind.parents[1] / "key").write_text("secret", encoding="utf-8")
    (kind / "app" / "link").symlink_to("../../../key")


def make_absolute(kind: Path) -> None:
    (kind / "app" / "link").symlink_to(kind / "Dockerfile")


def make_circle(kind: Path) -> None:
    (kind / "app" / "link").symlink_to("link")


def make_pipe(kind: Path) -> None:
    os.mkfifo(kind / "app" / "pipe")


@pytest.mark.parametrize("make", [make_dangling, make_outward, make_absolute, make_circle, make_pipe])
def test_what_cannot_be_copied_as_it_is_is_refused(root: Path, ours: Path, make: Callable[[Path], None]) -> None:
    make(ours)
    error = refused(root)
    assert str(ours / "app") in error.message
    assert "cannot have a copy" in error.message


def test_links_within_a_kind_stay_links(root: Path, ours: Path) -> None:
    (ours / "link").symlink_to("app/main.txt")
    (ours / "code").symlink_to("app")
    folder = create(root)
    assert (folder / "link").readlink() == Path("app/main.txt")
    assert (folder / "code" / "main.txt").read_text(encoding="utf-8") == "code"


def test_what_tools_left_in_a_kind_is_neither_copied_nor_looked_at(root: Path, ours: Path) -> None:
    (ours / "app" / "node_modules").mkdir()
    (ours / "app" / "node_modules" / "link").symlink_to("/nowhere")
    assert not (create(root) / "app" / "node_modules").exists()


def test_a_kind_may_itself_be_a_link_to_a_folder_that_workspaces_share(root: Path, ours: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    ours.rename(shared)
    ours.symlink_to(shared)
    assert (create(root) / "app" / "main.txt").is_file()


def test_nginx_listens_where_each_static_service_says(root: Path) -> None:
    for name in ("one", "two"):
        service_creation.create_service(root, name, "static-web")
    listened = (root / "services" / "one" / "serve" / "site.conf").read_text(encoding="utf-8")
    for service in workspaces.load_workspace(root).services:
        assert f"listen {service.settings.port};" in listened
        assert service.settings.args["ROUTE"] == service.settings.route == f"/{service.name}"


def test_a_job_is_one_and_takes_no_requests(root: Path) -> None:
    service_creation.create_service(root, "nightly", "job")
    settings = workspaces.load_workspace(root).service("nightly").settings
    assert settings.job and (settings.route, settings.port) == (None, None)


def test_a_model_is_part_of_its_services_content_digest(root: Path) -> None:
    folder = service_creation.create_service(root, "guess", "ml-inference")
    workspace = workspaces.load_workspace(root)
    bases = dict.fromkeys(("python-build", "python-run"), f"x@sha256:{'a' * 64}")

    def digest() -> str:
        return content_digest(build_inputs_of(workspace, workspace.service("guess"), bases))

    (model,) = (folder / "models").iterdir()
    before, content = digest(), model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert digest() != before
    model.write_bytes(content)
    assert digest() == before


def test_a_change_of_a_prompt_or_a_model_is_a_new_image_of_an_ai_gateway(root: Path) -> None:
    service_creation.create_service(root, "valkey", "valkey")
    folder = service_creation.create_service(root, "ai", "ai-gateway")
    workspace = workspaces.load_workspace(root)
    settings = workspace.service("ai").settings
    assert (settings.route, settings.needs, settings.generated) == ("/ai", ("valkey",), ("ADMIN_KEY",))
    bases = dict.fromkeys(("python-build", "python-run"), f"x@sha256:{'a' * 64}")
    digests = {content_digest(build_inputs_of(workspace, workspace.service("ai"), bases))}
    for name in ("models.toml", "tenants.toml", "guards.toml", "prompts/summary.md"):
        with (folder / "ai" / name).open("a", encoding="utf-8") as file:
            file.write("# more\n")
        digests.add(content_digest(build_inputs_of(workspace, workspace.service("ai"), bases)))
    assert len(digests) == 5


@pytest.mark.parametrize("kind", ["postgres", "valkey", "rabbitmq"])
def test_each_service_of_a_kind_that_keeps_data_listens_on_the_port_that_its_clients_and_checks_know(
    root: Path, kind: str
) -> None:
    for name in ("one", "two"):
        service_creation.create_service(root, name, kind)
    one, two = workspaces.load_workspace(root).services
    assert one.settings.port == two.settings.port
