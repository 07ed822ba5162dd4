"""Sources without a Dockerfile get one where it is plain how they run; others are refused with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.adopt.made_up import OWN_BASE, found, make_workspace, pins, write

from slipway._internal.adopt.adopt import Request, plan_adoption
from slipway._internal.adopt.folder import plan_folder
from slipway._internal.adopt.plan import Draft
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import load_workspace

FASTAPI = "from fastapi import FastAPI\n\napp: FastAPI = FastAPI()\n"
LOCK = "{}"


MAVEN = {
    "pom_dot_xml": "<packaging>jar</packaging><dependency>io.javalin</dependency>",
    "src__main__java__shop__Main_dot_java": "package shop;\npublic static void main(String[] words) {}",
}
PAGE = '{"devDependencies": {"vite": "1"}, "scripts": {"build": "tsc && vite build", "test": "vitest run"}}'


def draft_of(folder: Path) -> Draft:
    workspace = make_workspace(folder.parent / "workspace")
    return plan_folder(workspace, folder, pins(), name=None, given=folder.name, route=None).drafts[0]


@pytest.mark.parametrize(
    ("files", "entrypoint", "port"),
    [
        (
            {"requirements_dot_txt": "fastapi\nuvicorn\n", "app__main_dot_py": FASTAPI},
            '["/app/.venv/bin/python", "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]',
            8000,
        ),
        (
            {"requirements_dot_txt": "fastapi[standard]\n", "main_dot_py": "api = fastapi.FastAPI()\n"},
            '["/app/.venv/bin/python", "-m", "uvicorn", "main:api", "--host", "0.0.0.0", "--port", "8000"]',
            8000,
        ),
        (
            {"requirements_dot_txt": "Flask==3\ngunicorn\n", "shop____init___dot_py": "app = Flask(__name__)\n"},
            '"-m", "gunicorn", "--bind", "0.0.0.0:5000", "--worker-tmp-dir", "/tmp", "',
            5000,
        ),
        (
            {"requirements_dot_txt": "django\ngunicorn\n", "site__wsgi_dot_py": ""},
            '"site.wsgi:application"]',
            8000,
        ),
        ({"requirements_dot_txt": "x\n", "main_dot_py": ""}, '["/app/.venv/bin/python", "main.py"]', None),
        (
            {"package_dot_json": '{"scripts": {"start": "node src/x.js --v"}}', "package-lock_dot_json": LOCK},
            '["node", "src/x.js", "--v"]',
            None,
        ),
        (
            {"package_dot_json": '{"main": "./x.js"}', "x_dot_js": "", "package-lock_dot_json": LOCK},
            '["node", "./x.js"]',
            None,
        ),
        (
            {"package_dot_json": '{"dependencies": {"next": "1"}}', "package-lock_dot_json": LOCK},
            '["node", "node_modules/next/dist/bin/next", "start"]',
            3000,
        ),
        (
            {"package_dot_json": '{"dependencies": {"@nestjs/core": "1"}}', "package-lock_dot_json": LOCK},
            '["node", "dist/main.js"]',
            3000,
        ),
    ],
)
def test_a_dockerfile_is_written_around_sources(
    tmp_path: Path, files: dict[str, str], entrypoint: str, port: int | None
) -> None:
    draft = draft_of(write(tmp_path / "shop", **files))
    assert draft.dockerfile is not None and "ENTRYPOINT" in draft.dockerfile
    assert entrypoint in draft.dockerfile.replace("  ", " ")
    assert draft.settings.get("port") == port
    assert draft.settings["target"] == "run" and "security" not in draft.settings
    assert "{" not in draft.dockerfile.replace("${", "") and f"_RUN={OWN_BASE}\n" in draft.dockerfile


def test_tests_of_the_sources_are_a_stage(tmp_path: Path) -> None:
    python = write(tmp_path / "a", requirements_dot_txt="x\npytest\n", main_dot_py="", tests__test_x_dot_py="")
    node = write(
        tmp_path / "b",
        package_dot_json='{"main": "x.js", "scripts": {"test": "node --test", "build": "tsc"}}',
        x_dot_js="",
        **{"package-lock_dot_json": LOCK},
    )
    assert "AS test" in str(draft_of(python).dockerfile) and "pytest" in str(draft_of(python).dockerfile)
    assert "AS test" in str(draft_of(node).dockerfile) and "RUN npm run build" in str(draft_of(node).dockerfile)


def test_requirements_without_hashes_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", requirements_dot_txt="x\n", pkg____main___dot_py="", app_dot_py="")
    workspace = make_workspace(tmp_path / "workspace")
    plan = plan_folder(workspace, folder, pins(), name=None, given="shop", route=None)
    assert found(plan, "requirements").fate == "to do"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"README": "x"}, "nothing there says how"),
        ({"pyproject_dot_toml": ""}, "no requirements.txt"),
        ({"requirements_dot_txt": "fastapi\n", "main_dot_py": FASTAPI}, "uvicorn was not found"),
        ({"requirements_dot_txt": "flask\n", "main_dot_py": "app = Flask(1)\n"}, "gunicorn"),
        ({"requirements_dot_txt": "django\n", "x__wsgi_dot_py": ""}, "gunicorn"),
        ({"requirements_dot_txt": "x\n"}, "no main.py"),
        ({"package_dot_json": "{}"}, "no package-lock.json"),
        ({"package_dot_json": '{"scripts": {"start": "vite; x"}}', "package-lock_dot_json": LOCK}, "`start` script"),
        ({"Gemfile": 'gem "rails"\n'}, "no base for Ruby"),
        ({"index_dot_html": "x"}, "no base nginx"),
        ({"pom_dot_xml": "<a/>"}, "0 main classes; <mainClass>"),
        ({"build_dot_gradle": "x"}, "Gradle builds it"),
        ({"pom_dot_xml": "<modules>"}, "<modules>"),
        ({"pom_dot_xml": "<packaging>war</packaging>"}, "makes a war"),
        ({"pom_dot_xml": "<java.version>25</java.version>"}, "needs Java 25"),
        ({"pom_dot_xml": "quarkus"}, "more than one jar"),
        ({**MAVEN, "src__main__java__B_dot_java": "static void main(String[] a)"}, "2 main classes: B, shop.Main"),
        ({"package_dot_json": PAGE}, "no package-lock.json"),
    ],
)
def test_what_cannot_be_known_is_refused(tmp_path: Path, files: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        draft_of(write(tmp_path / "shop", **files))
    assert "Dockerfile" in caught.value.remedy


GO = {"go_dot_mod": "module x\n", "x_dot_go": "package main\n"}


@pytest.mark.parametrize(
    ("files", "main"),
    [
        (GO, "/tmp/app .\n"),
        (
            {"go_dot_mod": "module x\n", "cmd__web__m_dot_go": "package main\n", "l_dot_go": "package l"},
            "/tmp/app ./cmd/web\n",
        ),
    ],
)
def test_the_program_of_a_go_module_is_built(tmp_path: Path, files: dict[str, str], main: str) -> None:
    workspace = make_workspace(tmp_path / "workspace", "go-build", "static-run")
    folder = write(tmp_path / "shop", **files)
    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        adoption.write()
    service = load_workspace(workspace.root).service("shop")
    assert main in service.dockerfile.read_text(encoding="utf-8") and service.settings.port == 8080


@pytest.mark.parametrize(
    ("bases", "files", "why"),
    [
        ((), GO, "no base go-build"),
        (("go-build", "static-run"), {"go_dot_mod": "module x\n"}, "0 programs"),
        (
            ("go-build", "static-run"),
            {"go_dot_mod": "x", "cmd__a__m_dot_go": "package main\n", "cmd__b__m_dot_go": "package main\n"},
            "2 programs",
        ),
    ],
)
def test_a_go_module_without_one_program_or_base_is_refused(
    tmp_path: Path, bases: tuple[str, ...], files: dict[str, str], why: str
) -> None:
    workspace = make_workspace(tmp_path / "workspace", *bases)
    with pytest.raises(ConfigError, match=why):
        plan_folder(workspace, write(tmp_path / "shop", **files), pins(), name=None, given="shop", route=None)


@pytest.mark.parametrize(
    ("files", "start", "port"),
    [
        (MAVEN, '"-cp", "/app/program.jar:/app/lib/*", "shop.Main"]', 7070),
        ({"pom_dot_xml": "<mainClass>a.B</mainClass>"}, '"/app/program.jar:/app/lib/*", "a.B"]', None),
        ({"pom_dot_xml": "spring-boot-maven-plugin"}, '"-jar", "/app/program.jar"]', 8080),
    ],
)
def test_a_jar_of_maven_runs_on_a_jre(tmp_path: Path, files: dict[str, str], start: str, port: int | None) -> None:
    workspace = make_workspace(tmp_path / "workspace", "java-build", "java-run")
    folder = write(tmp_path / "shop", **files)
    made = plan_folder(workspace, folder, pins(), name=None, given="shop", route=None)
    text = str(made.drafts[0].dockerfile)
    assert start in text and "USER 65532:65532\nE" in text
    assert ("AS test" in text, "copy-dependencies" in text) == (False, "-jar" not in start)
    assert made.drafts[0].settings.get("port") == port
    assert found(made, "dependencies").fate == "to do"


def test_tests_and_checksums_of_maven_are_used(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace", "java-build", "java-run")
    more = {"src__test__java__T_dot_java": "", "_dot_mvn__checksums__checksums_dot_sha256": ""}
    folder = write(tmp_path / "shop", **MAVEN, **more)
    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        adoption.write()
    text = load_workspace(workspace.root).service("shop").dockerfile.read_text(encoding="utf-8")
    assert "FROM build AS test\n" in text and "maven-surefire-plugin:3.5.5:test" in text
    assert (workspace.root / "services/shop/adopted/Trust.java").is_file()
    assert "dependencies" not in {row.key for row in adoption.plan.all_rows()}


@pytest.mark.parametrize(
    ("files", "route", "parts"),
    [
        ({"index_dot_html": '<img src="x.png">'}, "/", ["COPY --chmod=u=rwX,go=rX . www${ROUTE}", "=404;"]),
        (
            {"package_dot_json": PAGE, "package-lock_dot_json": LOCK},
            "/shop",
            ["npm ci", '-- --base "${ROUTE%/}/"', "FROM build AS test", "$uri/ ${ROUTE}/index.html;"],
        ),
    ],
)
def test_a_page_is_served_below_its_route(tmp_path: Path, files: dict[str, str], route: str, parts: list[str]) -> None:
    workspace = make_workspace(tmp_path / "workspace", "nginx")
    folder = write(tmp_path / "shop", **files)
    with plan_adoption(workspace, Request(str(folder), offline=True, route=route), print) as adoption:
        adoption.write()
    service = load_workspace(workspace.root).service("shop")
    text = service.dockerfile.read_text(encoding="utf-8")
    assert [part for part in parts if part not in text] == []
    assert (service.settings.args, service.settings.port) == ({"ROUTE": route}, 8080)
    assert [row.key for row in adoption.plan.all_rows() if row.fate == "to do"] == []


def test_a_page_beside_another_service_is_built_for_its_own_path_and_not_stripped(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace", "nginx")
    write(
        workspace.root / "services" / "web", Dockerfile="FROM x", service_dot_toml='kind = "x"\nport = 1\nroute = "/"\n'
    )
    folder = write(tmp_path / "shop", index_dot_html="<p>hello")
    draft = plan_folder(load_workspace(workspace.root), folder, pins(), name=None, given="shop", route=None).drafts[0]
    assert (draft.settings["route"], draft.settings["args"]) == ("/shop", {"ROUTE": "/shop"})
    assert "routes" not in draft.settings


def test_a_page_serves_neither_its_dockerfile_nor_dot_files(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace", "nginx")
    folder = write(tmp_path / "shop", index_dot_html="<link href='/style.css'>", _dot_dockerignore="drafts\n")
    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        adoption.write()
    ignored = (workspace.root / "services/shop/.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "drafts" and {"Dockerfile*", "service.toml", ".*", "!.well-known"} <= {*ignored}
    assert found(adoption.plan, "index.html").fate == "to do"


def test_a_page_whose_build_knows_no_route_is_told(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace", "nginx")
    webpack = PAGE.replace("vite", "webpack").replace("webpack build", "webpack --mode production")
    folder = write(tmp_path / "shop", package_dot_json=webpack, **{"package-lock_dot_json": LOCK})
    plan = plan_folder(workspace, folder, pins(), name=None, given="shop", route=None)
    assert "publicPath" in found(plan, "build").instead and "RUN npm run build \\" in str(plan.drafts[0].dockerfile)


@pytest.mark.parametrize(
    "package",
    [
        '{"main": "x.js", "dependencies": {"koa": "1", "vite": "1"}, "scripts": {"build": "vite build"}}',
        '{"main": "x.js", "devDependencies": {"vite": "1"}, "scripts": {"build": "b", "start": "node x.js"}}',
    ],
)
def test_a_server_that_bundles_a_page_stays_a_server(tmp_path: Path, package: str) -> None:
    folder = write(tmp_path / "shop", package_dot_json=package, x_dot_js="", **{"package-lock_dot_json": LOCK})
    assert "FROM ${NODE_RUN} AS run" in str(draft_of(folder).dockerfile)
