"""A folder with a Dockerfile is a service: what the file says is in service.toml, and what it does not say is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.adopt.made_up import DIGEST, DOCKERFILE, OWN_BASE, found, make_workspace, pins, write

from slipway._internal.adopt.adopt import Request, plan_adoption
from slipway._internal.adopt.folder import plan_folder
from slipway._internal.adopt.pins import Pins
from slipway._internal.adopt.plan import Plan
from slipway._internal.adopt.service_file import render
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import load_workspace


def plan_of(folder: Path, known: Pins | None = None, name: str | None = None, route: str | None = None) -> Plan:
    workspace = make_workspace(folder.parent / "workspace")
    return plan_folder(workspace, folder, known or pins(), name=name, given=folder.name, route=route)


def test_a_dockerfile_says_port_stage_user_and_pinned_base(tmp_path: Path) -> None:
    plan = plan_of(write(tmp_path / "shop", Dockerfile=DOCKERFILE, app__main_dot_py="x = 1\n"))
    (draft,) = plan.drafts
    assert draft.name == "shop"
    assert draft.settings["port"] == 8000 and draft.settings["target"] == "run" and draft.settings["route"] == "/"
    assert draft.settings["security"] == {"read-only": False}
    assert draft.settings["resources"] == {"memory": "512m", "cpus": 1.0}
    assert draft.dockerfile is not None and draft.dockerfile.startswith(
        f"FROM docker.io/library/python:3.12@{DIGEST} AS run"
    )
    assert found(plan, "FROM").where == f"{tmp_path}/shop/Dockerfile:1"


def test_a_root_user_gets_what_official_images_need_and_the_file_says_why(tmp_path: Path) -> None:
    (draft,) = plan_of(write(tmp_path / "shop", Dockerfile="FROM nginx\nEXPOSE 80\n")).drafts
    assert draft.settings["target"] == ""
    assert draft.settings["security"]["capabilities"] == [
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "SETGID", "SETUID")
    ]
    assert "starts as root" in draft.comments["security.capabilities"]


def test_a_dockerfile_made_for_the_workspaces_bases_keeps_all_restrictions(tmp_path: Path) -> None:
    text = 'ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\nEXPOSE 8000\nUSER 1:1\nHEALTHCHECK CMD ["true"]\n'
    plan = plan_of(write(tmp_path / "shop", Dockerfile=text))
    assert "security" not in plan.drafts[0].settings and "args" not in plan.drafts[0].settings
    assert found(plan, "HEALTHCHECK").fate == "carried over"


def test_the_user_of_an_earlier_stage_holds_where_the_last_one_starts_from_it(tmp_path: Path) -> None:
    text = 'FROM nginx AS base\nUSER www\nEXPOSE 8080\nFROM base\nCMD ["x"]\n'
    (draft,) = plan_of(write(tmp_path / "shop", Dockerfile=text)).drafts
    assert draft.settings["port"] == 8080 and "capabilities" not in draft.settings["security"]


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("CMD flask run --host=0.0.0.0 --port=5000", 5000),
        ('CMD ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8080"]', 8080),
        ('CMD ["gunicorn", "-b", "0.0.0.0:9000", "app:app"]', 9000),
        ('ENTRYPOINT ["gunicorn"]\nCMD ["--bind=:8001", "app:app"]', 8001),
        ("CMD ./server -port 7000 --level 3", 7000),
        ("CMD ./server --portable 7000", None),
        ("CMD ./server --port $PORT", None),
        ("CMD ./server --address 10.0.0.12", None),
        ("EXPOSE 4000\nCMD ./server --port 7000", 4000),
    ],
)
def test_without_expose_the_port_is_the_commands(tmp_path: Path, command: str, port: int | None) -> None:
    (draft,) = plan_of(write(tmp_path / "shop", Dockerfile=f"FROM python:3.12\n{command}\n")).drafts
    assert draft.settings.get("port") == port


@pytest.mark.parametrize(
    "path", ["Containerfile", "docker/Dockerfile", "build/api.Dockerfile", "deploy/Dockerfile.prod"]
)
def test_a_dockerfile_elsewhere_is_put_to_the_top(tmp_path: Path, path: str) -> None:
    folder = write(tmp_path / "shop", x="1", y__Dockerfile_dot_dockerignore="x")
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(DOCKERFILE)
    plan = plan_of(folder)
    assert plan.drafts[0].settings["port"] == 8000
    assert plan.drafts[0].dockerfile is not None and DIGEST in plan.drafts[0].dockerfile
    assert found(plan, "Dockerfile").where == str(folder / path)


def test_of_several_dockerfiles_the_user_chooses(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", a__Dockerfile=DOCKERFILE, b__Dockerfile=DOCKERFILE)
    with pytest.raises(ConfigError, match="has 2 Dockerfiles, and none at its top: a/Dockerfile, b/Dockerfile"):
        plan_of(folder)


def test_what_is_not_known_is_told(tmp_path: Path) -> None:
    text = "ARG VERSION\nARG TAG=3.12\nFROM python:${TAG}\nARG TARGETARCH\nARG TOKEN\nCOPY dist gone.txt /x/\n"
    folder = write(tmp_path / "shop", Dockerfile=text, dist__a="1", _dot_gitignore="dist/\n")
    plan = plan_of(folder)
    assert plan.drafts[0].settings["args"] == {"VERSION": "", "TOKEN": ""}
    assert found(plan, "EXPOSE").fate == "to do"
    assert {row.why for row in plan.all_rows() if row.key == "COPY"} == {
        "dist: git ignores it, so it is left out",
        "gone.txt: it is not there",
    }
    assert "port" not in plan.drafts[0].settings and "route" not in plan.drafts[0].settings


def test_an_image_whose_digest_nobody_knows_is_told_with_how_to_pin_it(tmp_path: Path) -> None:
    plan = plan_of(write(tmp_path / "shop", Dockerfile="FROM ruby:3.4 AS run\n"))
    row = found(plan, "FROM")
    assert row.fate == "to do" and "ruby:3.4@sha256" in row.instead and "no registry was asked" in row.why


def test_other_ports_of_expose_are_told(tmp_path: Path) -> None:
    plan = plan_of(
        write(
            tmp_path / "shop",
            Dockerfile="ENV\nFROM python:3.12\n".replace("ENV\n", "") + "ENV P=9000\nEXPOSE 443 $P 53/udp 5432/tcp\n",
        )
    )
    assert plan.drafts[0].settings["port"] == 9000
    assert "443, 5432" in found(plan, "EXPOSE", "not carried over").why


@pytest.mark.parametrize(
    ("file", "text", "port", "health"),
    [
        ("requirements_dot_txt", "FastAPI[standard]==1\n", 8000, None),
        ("requirements_dot_txt", "# web\nflask>=3\n", 5000, None),
        ("pyproject_dot_toml", '[project]\nname = "x"\ndependencies = ["Django~=5.0"]\n', 8000, None),
        ("pyproject_dot_toml", '[tool.poetry.dependencies]\npython = "^3"\nfastapi = "*"\n', 8000, None),
        ("package_dot_json", '{"dependencies": {"express": "5"}}', 3000, None),
        ("package_dot_json", '{"dependencies": {"@nestjs/core": "5", "express": "1"}}', 3000, None),
        ("package_dot_json", '{"dependencies": {"fastify": "5"}}', 3000, None),
        ("package_dot_json", '{"dependencies": {"next": "5"}}', 3000, None),
        ("go_dot_mod", "module x\n", 8080, None),
        ("pom_dot_xml", "<a>spring-boot-starter-actuator</a>", 8080, "/actuator/health"),
        ("Gemfile", 'source "x"\ngem "rails", "8"\n', 3000, None),
        ("index_dot_html", "<p>", 8080, None),
    ],
)
def test_the_sources_tell_the_port_that_the_dockerfile_does_not(
    tmp_path: Path, file: str, text: str, port: int, health: str | None
) -> None:
    folder = write(tmp_path / "shop", Dockerfile="FROM python:3.12 AS run\n", **{file: text})
    plan = plan_of(folder)
    assert plan.drafts[0].settings["port"] == port
    assert plan.drafts[0].settings.get("health") == health
    assert "guess" in found(plan, "EXPOSE").why


def test_a_health_path_is_found_in_the_sources(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop",
        Dockerfile=DOCKERFILE,
        requirements_dot_txt="fastapi\n",
        app__main_dot_py='@app.get("/healthz")\n',
    )
    assert plan_of(folder).drafts[0].settings["health"] == "/healthz"


@pytest.mark.parametrize("text", ["{", "[1]", '{"dependencies": 3}'])
def test_a_damaged_package_json_tells_nothing(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "shop", Dockerfile="FROM python:3.12\n", package_dot_json=text, pyproject_dot_toml="[")
    assert "port" not in plan_of(folder).drafts[0].settings


def test_a_route_below_the_root_is_taken_off_and_told(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    write(
        workspace.root / "services" / "web", Dockerfile="FROM x", service_dot_toml='kind = "x"\nport = 1\nroute = "/"\n'
    )
    write(
        workspace.root / "services" / "old",
        Dockerfile="FROM x",
        service_dot_toml='kind = "x"\nport = 1\nroute = "/shop"\n',
    )
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)
    plan = plan_of(folder)
    assert plan.drafts[0].settings["routes"] == [{"path": "/shop-2", "strip": True}]
    assert 'path = "/shop-2"\n# The service gets the path without' in render(plan.drafts[0])
    assert "gets the path without it" in found(plan, "routes").why
    assert plan_of(folder, route="/x").drafts[0].settings["route"] == "/x"
    with pytest.raises(ConfigError, match="taken by the service `web`"):
        plan_of(folder, route="/")


def test_a_route_for_what_takes_no_requests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none here has a port"):
        plan_of(write(tmp_path / "shop", Dockerfile="FROM python:3.12\n"), route="/x")


@pytest.mark.parametrize(
    ("given", "name"), [("My_Shop.v2", "my-shop-v2"), ("gateway", "gateway-service"), ("9lives", "lives")]
)
def test_a_name_is_made_a_dns_label_and_that_is_said(tmp_path: Path, given: str, name: str) -> None:
    plan = plan_of(write(tmp_path / given, Dockerfile=DOCKERFILE))
    assert plan.drafts[0].name == name
    assert name in found(plan, "name").instead


@pytest.mark.parametrize("name", ["Shop", "x" * 41, "base-x", "..", "日本"])
def test_a_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a service"):
        plan_of(write(tmp_path / "shop", Dockerfile=DOCKERFILE), name=name)


def test_an_empty_folder_a_service_and_a_missing_from_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="holds no file"):
        plan_of(empty)
    with pytest.raises(ConfigError, match="is a Slipway service"):
        plan_of(write(tmp_path / "own", Dockerfile=DOCKERFILE, service_dot_toml="kind = 1"))
    with pytest.raises(ConfigError, match="has no FROM"):
        plan_of(write(tmp_path / "broken", Dockerfile="# nothing\n"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "loop/../../x"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)
    (folder / "link").symlink_to(target)
    with pytest.raises(ConfigError, match="out of the folder"):
        plan_of(folder)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    import os

    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)
    os.mkfifo(folder / "pipe")
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        plan_of(folder)


def test_adopting_copies_the_files_and_the_workspace_loads(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    folder = write(
        tmp_path / "shop",
        Dockerfile=DOCKERFILE,
        app__main_dot_py="x = 1\n",
        node_modules__a="x",
        _dot_git__HEAD="x",
        build__out="x",
        _dot_gitignore="/build/\n",
    )
    (folder / "link").symlink_to("app/main.py")
    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        assert not (workspace.root / "services").exists()
        (written,) = adoption.write()
    names = {str(path.relative_to(written)) for path in written.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert names == {"Dockerfile", "service.toml", "app/main.py", ".gitignore", "link"}
    service = load_workspace(workspace.root).service("shop")
    assert service.settings.port == 8000 and service.settings.kind == "adopted"
    assert (folder / "app" / "main.py").is_file()
    assert list((workspace.root / "services").iterdir()) == [written]


def test_moving_leaves_what_was_left_out(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE, a__b__c="1", node_modules__x="1")
    with plan_adoption(workspace, Request(str(folder), offline=True, move=True), print) as adoption:
        adoption.write()
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["node_modules", "node_modules/x"]
    assert (workspace.root / "services" / "shop" / "a" / "b" / "c").is_file()


def test_a_service_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    write(workspace.root / "services" / "shop", Dockerfile="FROM x", service_dot_toml='kind = "x"\n')
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)
    with (
        pytest.raises(ConfigError, match="there already"),
        plan_adoption(load_workspace(workspace.root), Request(str(folder), offline=True), print),
    ):
        raise AssertionError("nothing is planned")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway._internal.adopt import staging

    workspace = make_workspace(tmp_path / "workspace")
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)

    def full(_root: Path) -> None:
        raise OSError(28, "No space left on device")

    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        monkeypatch.setattr(staging, "load_workspace", full)
        with pytest.raises(ConfigError, match="No space left"):
            adoption.write()
    assert list((workspace.root / "services").iterdir()) == []


def test_across_file_systems_a_folder_is_copied_beside_its_place_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    workspace = make_workspace(tmp_path / "workspace")
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)
    rename = os.rename

    def other_disk(source: Path, target: Path) -> None:
        if ".slipway" in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        monkeypatch.setattr(os, "rename", other_disk)
        adoption.write()
    assert [path.name for path in (workspace.root / "services").iterdir()] == ["shop"]


def test_a_build_that_would_be_refused_is_told_at_once(tmp_path: Path) -> None:
    text = f"FROM {OWN_BASE} AS run\nADD https://example.com/x.tgz /x/\nEXPOSE 80\n"
    folder = write(tmp_path / "shop", Dockerfile=text)
    workspace = make_workspace(tmp_path / "workspace")
    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        row = found(adoption.plan, "Dockerfile")
    assert row.fate == "to do" and "line 2" in row.why and str(workspace.scratch) not in row.why


def test_a_compose_file_beside_the_dockerfile_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE, compose_dot_yaml="services: {}\n")
    assert f"invoke adopt {folder}/compose.yaml" in found(plan_of(folder), "services").instead
