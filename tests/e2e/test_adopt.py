"""What exists becomes services that run: a folder with a Dockerfile, one without, and a Compose project."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from tests.conftest import ENGINE
from tests.e2e.conftest import NAME
from tests.e2e.workspace import Workspace

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

KINDS = ENGINE / "kinds"
SERVER = """
import http.server, os, pathlib, urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        backend = os.environ.get("BACKEND")
        text = urllib.request.urlopen(backend, timeout=5).read() if backend else pathlib.Path("greeting").read_bytes()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
DOCKERFILE = """\
ARG PYTHON_RUN
FROM ${PYTHON_RUN}
WORKDIR /app
COPY server.py greeting* ./
EXPOSE 8000
USER 65532:65532
ENTRYPOINT ["python3", "server.py"]
"""
COMPOSE = """\
services:
  front_door:
    build: front
    ports: ["8090:8000"]
    environment:
      BACKEND: http://back_end:8000/
    depends_on: [back_end]
  back_end:
    build:
      context: back
    volumes:
      - ./greeting.txt:/app/greeting:ro
    restart: always
    privileged: {privileged}
"""


def project(folder: Path, *, privileged: bool = False) -> Path:
    """Write a Compose project of two services made for the workspace's bases; return its file."""
    for name in ("front", "back"):
        service(folder / name)
    (folder / "greeting.txt").write_text("from the mounted file", encoding="utf-8")
    (folder / "back" / "greeting").unlink()
    file = folder / "compose.yaml"
    file.write_text(COMPOSE.format(privileged=json.dumps(privileged)), encoding="utf-8")
    return file


def service(folder: Path) -> Path:
    """Write a service whose Dockerfile starts from the workspace's base."""
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (folder / "server.py").write_text(textwrap.dedent(SERVER), encoding="utf-8")
    (folder / "greeting").write_text("from its own file", encoding="utf-8")
    return folder


def write_all(folder: Path, files: dict[str, str]) -> None:
    """Write files below a folder: path → text."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")


def test_a_folder_and_a_compose_project_are_adopted_and_served(deployed: Workspace, tmp_path: Path) -> None:
    before = deployed.ids()
    dry = deployed.invoke("adopt", str(service(tmp_path / "My_Shop")), "--dry")
    assert dry.code == 0, dry.output
    assert "my-shop" in dry.stdout and deployed.git("status", "--porcelain") == ""
    refused = deployed.invoke("adopt", str(tmp_path / "My_Shop"))
    assert refused.code == 2 and "--yes" in refused.stderr
    adopted = deployed.invoke("adopt", str(tmp_path / "My_Shop"), "--route", "/shop", "--yes")
    assert adopted.code == 0, adopted.output
    plan = deployed.invoke("adopt", str(project(tmp_path / "site")), "--yes", "--offline", "--json").json()
    assert plan["written"] and [each["name"] for each in plan["services"]] == ["front-door", "back-end"]

    previewed = deployed.invoke("preview")
    assert previewed.code == 0, previewed.output
    deployed.up()
    assert deployed.get("/shop") == (200, "from its own file")
    assert deployed.get("/front-door") == (200, "from the mounted file")
    assert {name: each for name, each in deployed.ids().items() if name in before} == before

    told = deployed.invoke("doctor")
    assert "no stage `test`" in told.output


JAVA = {
    "pom.xml": """
        <project xmlns="http://maven.apache.org/POM/4.0.0">
          <modelVersion>4.0.0</modelVersion>
          <groupId>tea</groupId><artifactId>tea</artifactId><version>1</version>
          <properties><maven.compiler.release>21</maven.compiler.release></properties>
          <dependencies>
            <dependency><groupId>io.javalin</groupId><artifactId>javalin</artifactId><version>7.2.3</version></dependency>
            <dependency><groupId>org.junit.jupiter</groupId><artifactId>junit-jupiter</artifactId>
              <version>5.14.4</version><scope>test</scope></dependency>
          </dependencies>
        </project>
        """,
    "src/main/java/tea/Main.java": """
        package tea;

        public final class Main {
            static String greeting() { return "from Java " + Runtime.version().feature(); }

            public static void main(String[] words) {
                io.javalin.Javalin.create(config -> config.routes.get("/", it -> it.result(greeting()))).start(7070);
            }
        }
        """,
    "src/test/java/tea/MainTest.java": """
        package tea;

        class MainTest {
            @org.junit.jupiter.api.Test void greets() {
                org.junit.jupiter.api.Assertions.assertEquals("from Java 21", Main.greeting());
            }
        }
        """,
}
PAGE = {
    "package.json": """
        {"name": "page", "version": "1.0.0", "private": true, "type": "module",
         "scripts": {"build": "vite build", "test": "node --test"}, "devDependencies": {"vite": "~8.3.8"}}
        """,
    "index.html": '<script type="module" src="/main.js"></script>',
    "main.js": 'document.title = "built";',
    "tests/adds.test.js": 'import test from "node:test"; test("it adds", () => {});',
}
LEAFLET = {"index.html": '<link href="style.css"> a leaflet', "style.css": "p {}", "about/index.html": "about us"}


def test_sources_of_other_languages_are_built_tested_and_served(deployed: Workspace, tmp_path: Path) -> None:
    """A Java program, a page that npm builds, and a folder of HTML, none of which has a Dockerfile."""
    lock = json.loads((KINDS / "static-web" / "package-lock.json").read_text(encoding="utf-8"))
    lock["packages"][""] = json.loads(PAGE["package.json"])
    for name, files in {"tea": JAVA, "page": PAGE, "leaflet": LEAFLET}.items():
        write_all(tmp_path / name, files)
        (tmp_path / "page" / "package-lock.json").parent.mkdir(exist_ok=True)
        (tmp_path / "page" / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")
        adopted = deployed.invoke("adopt", str(tmp_path / name), "--yes", "--offline")
        assert adopted.code == 0, adopted.output
    tested = deployed.invoke("test", "tea,page")
    assert tested.code == 0, tested.output
    assert 'tests="1"' in next((deployed.root / ".slipway/gate/tea").rglob("junit.xml")).read_text(encoding="utf-8")
    deployed.up()
    assert deployed.get("/tea") == (200, "from Java 21")
    assert "/page/assets/index-" in deployed.get("/page/deep/link")[1]
    assert deployed.get("/leaflet") == (200, LEAFLET["index.html"])
    assert deployed.get("/leaflet/about/") == (200, "about us")
    assert [deployed.get(f"/leaflet/{name}")[0] for name in ("style.css", "Dockerfile", "service.toml")] == [
        200,
        404,
        404,
    ]


VISITS = {
    "compose.yaml": """
        services:
          visits:
            build: visits
            ports: ["8090:8000"]
            environment:
              DATABASE_URL: postgres://shop:s3cret-w0rd@store/wares
            depends_on: [store]
          store:
            image: postgres:16
            environment: {POSTGRES_USER: shop, POSTGRES_PASSWORD: s3cret-w0rd, POSTGRES_DB: wares}
        """,
    "visits/Dockerfile": """
        ARG PYTHON_BUILD
        FROM ${PYTHON_BUILD}
        ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
        WORKDIR /app
        RUN ["python3", "-m", "venv", "--without-pip", ".venv"]
        RUN --mount=type=cache,id=pip,target=/root/.cache/pip,sharing=locked \\
            --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false \\
            --mount=type=secret,id=pip-conf,target=/etc/pip.conf,required=false \\
            python3 -m pip --python .venv/bin/python install "psycopg[binary]==3.3.9"
        COPY server.py ./
        EXPOSE 8000
        USER 65532:65532
        CMD ["/app/.venv/bin/python", "server.py"]
        """,
    "visits/server.py": """
        import http.server, os, psycopg


        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with psycopg.connect(os.environ["DATABASE_URL"]) as database:
                    database.execute("CREATE TABLE IF NOT EXISTS visits (path text)")
                    if self.path.endswith("/new"):
                        database.execute("INSERT INTO visits VALUES (%s)", [self.path])
                    rows = database.execute("SELECT path FROM visits").fetchall()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(repr(rows).encode())


        http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
        """,
}


def test_a_program_reaches_the_database_that_stands_in_for_an_image(deployed: Workspace, tmp_path: Path) -> None:
    """A Compose project whose image nobody can pin: the kind's user, database and password reach the program."""
    write_all(tmp_path, VISITS)
    adopted = deployed.invoke("adopt", str(tmp_path), "--yes", "--offline", "--route", "/visits")
    assert adopted.code == 0 and "s3cret-w0rd" not in adopted.output, adopted.output
    deployed.up()
    try:
        assert deployed.get("/visits/new") == (200, "[('/visits/new',)]")
        assert deployed.get("/visits") == (200, "[('/visits/new',)]")
        inspected = "".join(json.dumps(engine.client().api.inspect_container(each)) for each in deployed.ids().values())
        written = [path for part in ("services", "infra") for path in (deployed.root / part).rglob("*")]
        files = "".join(path.read_text(errors="replace") for path in written if path.is_file())
        password = deployed.invoke("exec", "visits", "--", "cat", "/run/secrets/STORE_PASSWORD").stdout.strip()
        for text in (inspected, files):
            assert "s3cret-w0rd" not in text and password not in text
    finally:
        deployed.piped("down", "--volumes", "--yes", stdin=f"{NAME}-dev\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("services:\n  a:\n\tb: 1\n", "compose.yaml:3"),
        ("services:\n  a: {extends: {service: b}}\n  b: {extends: {service: a}}\n", "one of these `extends` out"),
        ("include: [compose.yaml]\nservices: {}\n", "compose.yaml:1"),
        ("services:\n  a:\n    image: ${NOPE:?say which}\n", "compose.yaml:3"),
        ("services:\n  a:\n    provider: {type: cloud}\n", "--skip a"),
        ("services:\n  a: {image: nginx, env_file: gone.env}\n", "compose.yaml:2"),
        ("services:\n  a: {build: ../elsewhere}\n", "compose.yaml:2"),
        ("services:\n  a:\n    image: nginx\n    network_mode: host\n", "compose.yaml:4"),
        ("services:\n  a:\n    image: nginx\n    volumes: ['/var/run/docker.sock:/s']\n", "compose.yaml:4"),
        ("services:\n  a:\n    image: nginx\n", "not pinned"),
        ("services:\n  a:\n    imagee: nginx\n", "imagee"),
        ("services:\n  a: {image: nginx, ports: ['1:1']}\n  b: {image: nginx, ports: ['1:1']}\n", "not pinned"),
    ],
)
def test_a_compose_file_that_cannot_be_adopted_is_refused_and_nothing_is_written(
    workspace: Workspace, tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "compose.yaml").write_text(text, encoding="utf-8")
    ran = workspace.invoke("adopt", str(tmp_path / "project"), "--yes", "--offline")
    assert ran.code == 2, ran.output
    assert why in ran.output and "remedy" in ran.output
    assert workspace.git("status", "--porcelain") == ""


def test_what_docker_compose_puts_together_is_told_with_the_lines_of_its_files(
    workspace: Workspace, tmp_path: Path
) -> None:
    service(tmp_path / "app")
    (tmp_path / "base.yaml").write_text("services:\n  base:\n    restart: always\n    tty: true\n", encoding="utf-8")
    (tmp_path / "values.env").write_text("FROM_FILE=1\n", encoding="utf-8")
    (tmp_path / ".env").write_text("PORT_OUTSIDE=9000\n", encoding="utf-8")
    (tmp_path / "compose.yaml").write_text(
        "x-common: &common\n  env_file: values.env\nservices:\n  app:\n    <<: *common\n    build: app\n"
        "    extends: {file: base.yaml, service: base}\n    ports: ['${PORT_OUTSIDE}:8000']\n    profiles: [extra]\n"
        "    environment: {DOLLAR: 'a$$b', MISSING: '${NOT_SET}'}\n",
        encoding="utf-8",
    )
    plan = workspace.invoke("adopt", str(tmp_path), "--dry", "--offline", "--json", PORT_OUTSIDE="1").json()
    assert plan["services"][0]["settings"]["env"] == {"DOLLAR": "a$b", "FROM_FILE": "1", "MISSING": ""}
    places = {row["key"]: row["where"].rpartition("/")[2] for row in plan["rows"]}
    assert places["tty"] == "base.yaml:4" and places["env_file"] == "compose.yaml:2"
    assert places["profiles"] == "compose.yaml:9"
    assert any(row["key"] == "NOT_SET" and row["fate"] == "to do" for row in plan["rows"])
    assert any("9000:8000" in row["why"] for row in plan["rows"])
