"""The inner loop for real: what is saved is served without a failed request, and what ends leaves nothing behind.

Slow, because each test saves files and waits for real builds, containers and a gateway: it buys that no caller ever
notices a change, that a mistake costs nothing but its message, and that neither Ctrl-C nor a kill leaves anything.
"""

from __future__ import annotations

import io
import shutil
import signal
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.e2e.callers import calling
from tests.e2e.conftest import NAME, First, processes
from tests.e2e.workspace import Workspace, kill, processes_gone, wait_until

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

API, WEB, LIB = "services/api/app/main.py", "services/web/app/page.js", "libs/common/common/logs.py"


class Session:
    """A running `invoke dev`, and all that it has said."""

    def __init__(self, workspace: Workspace, *words: str, **environment: str) -> None:
        self.workspace = workspace
        self.child = workspace.start("dev", *words, **environment)
        self.lines: list[str] = []
        for stream in (self.child.stdout, self.child.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def own(self) -> list[str]:
        """Return what it said itself, the services' logs left out."""
        return [line for line in self.lines if " │ " not in line]

    def says(self, text: str, since: int = 0) -> None:
        wait_until(
            lambda: text in "\n".join(self.lines[since:]) or self.child.poll() is not None, f"{text!r} in {self.text}"
        )
        assert text in "\n".join(self.lines[since:]), self.text

    def end(self, number: int = signal.SIGINT) -> int:
        """Interrupt it, and return its exit status when it has ended."""
        self.child.send_signal(number)
        code = self.child.wait(timeout=120)
        assert "Traceback" not in "\n".join(self.own()), self.text
        assert "\x1b" not in self.text
        return code


@contextmanager
def session(workspace: Workspace, *words: str, **environment: str) -> Iterator[Session]:
    """An `invoke dev` that watches; whatever happens, it has ended afterwards."""
    made = Session(workspace, *words, **environment)
    try:
        made.says("Watching")
        yield made
    finally:
        if made.child.poll() is None:
            kill(made.child)


@pytest.fixture(scope="module")
def working(first: First) -> Iterator[Session]:
    """One session for the tests that only save files and put them back; they come last, because it has the stack."""
    first.workspace.up("--yes")
    with session(first.workspace) as made:
        yield made
        first.workspace.restore()
        assert made.end() == 0, made.text
    assert made_by_dev() == []
    assert not processes(first.workspace)
    assert not any(row["drift"] for row in first.workspace.invoke("status", "--json").json())
    first.workspace.up()


@pytest.fixture
def saving(working: Session) -> Iterator[Workspace]:
    """The workspace of that session, its files put back after the test."""
    yield working.workspace
    working.workspace.restore()


def test_a_service_that_comes_is_deployed_and_one_that_goes_is_removed(deployed: Workspace) -> None:
    with session(deployed) as made:
        assert deployed.invoke("new", "tender", "--kind", "worker").code == 0
        made.says("tender       healthy")
        with (deployed.root / "services" / "tender" / "app" / "__main__.py").open("a", encoding="utf-8") as file:
            file.write("# so that it is built\n")
        made.says("tender  ")
        wait_until(lambda: swapped(made, "tender", 0), f"the new service's change in {made.text}")
        shutil.rmtree(deployed.root / "services" / "tender")
        wait_until(lambda: "tender" not in deployed.containers_now(), f"the service is gone: {made.text}")
        assert made.end() == 0, made.text
    assert set(deployed.containers()) == {"api", "web", "worker", "gateway"}
    assert not deployed.up()["changed"]


def made_by_dev() -> list[str]:
    return [each.name for each in engine.list_containers(NAME, "dev") if each.dev]


def swapped(session: Session, service: str, since: int) -> bool:
    """Whether it has told of a service's swap."""
    return any(line.startswith(f"{service}  ") and "switch" in line for line in session.lines[since:])


def serves(workspace: Workspace, path: str, text: str) -> None:
    wait_until(lambda: text in workspace.get(path)[1], f"{path} serves {text}")


def settled(workspace: Workspace, path: str, text: str) -> None:
    """Wait until a path serves a text, also where the gateway's workers from before still took requests."""
    wait_until(
        lambda: all(text in workspace.get(path)[1] for _ in range(50)), f"{path} serves {text} and nothing before it"
    )


def test_sources_are_copied_where_they_may_be_and_all_else_is_built(deployed: Workspace) -> None:
    """`invoke dev --sync` copies only what gives the same container as a build would."""
    with session(deployed, "--sync") as made:
        with calling(deployed.port, "/api/items") as seen:
            deployed.edit(API, '"lantern"', '"sextant"')
            serves(deployed, "/api/items", "sextant")
            extra = deployed.root / "services" / "api" / "app" / "more.py"
            extra.write_text('NAME = "binnacle"\n', encoding="utf-8")
            deployed.edit(API, "from app import VERSION", "from app import VERSION, more")
            deployed.edit(API, '"sextant"', "more.NAME")
            serves(deployed, "/api/items", "binnacle")
        assert seen.failures == []
        found = engine.client().api.inspect_container(newest("api"))
        assert found["HostConfig"]["ReadonlyRootfs"] and found["Config"]["User"] == "65532:65532"
        deployed.edit(API, "more.NAME", '"quadrant"')
        deployed.edit(API, "from app import VERSION, more", "from app import VERSION")
        extra.unlink()
        serves(deployed, "/api/items", "quadrant")
        assert not any("build " in line for line in made.own() if "switch" in line)
        wait_until(lambda: "more.py" not in files_in("api", "/app/app"), "what was deleted is gone")
        assert {"main.py", "__main__.py"} <= files_in("api", "/app/app")
        with (deployed.root / "services" / "api" / "requirements.txt").open("a", encoding="utf-8") as file:
            file.write("# so that it is built\n")
        made.says("build ")
        assert made.end(signal.SIGTERM) == 0, made.text
    assert made_by_dev() == []
    assert "quadrant" in deployed.get("/api/items")[1]
    assert not deployed.up()["changed"]


def newest(service: str) -> str:
    """Return the id of the newest container that `invoke dev` made for a service."""
    return [each.id for each in engine.list_containers(NAME, "dev") if each.service == service and each.dev][-1]


def files_in(service: str, folder: str) -> set[str]:
    """Return the names of a folder's files in that container."""
    packed, _ = engine.client().containers.get(newest(service)).get_archive(folder)
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed))) as tar:
        return {each.name.partition("/")[2] for each in tar}


def test_the_end_of_broken_work_is_what_was_deployed(deployed: Workspace) -> None:
    with session(deployed, "api") as made:
        deployed.edit(API, '"lantern"', '"sextant"')
        serves(deployed, "/api/items", "sextant")
        deployed.edit(API, "app = FastAPI(", 'raise RuntimeError("out of rope")\napp = FastAPI(')
        made.says("The previous one still serves")
        with calling(deployed.port, "/api/items") as seen:
            assert made.end() == 1, made.text
        assert seen.failures == []
        assert "is back to what was deployed before" in made.text
    assert made_by_dev() == []
    assert "lantern" in deployed.get("/api/items")[1]
    rows = deployed.invoke("status", "--json").json()
    assert not any(row["drift"] for row in rows)


def test_after_a_kill_the_next_up_takes_over_without_a_failed_request(deployed: Workspace) -> None:
    with session(deployed) as made:
        deployed.edit(API, '"lantern"', '"sextant"')
        settled(deployed, "/api/items", "sextant")
        processes_gone(kill(made.child))
    assert made_by_dev()
    with calling(deployed.port, "/api/items") as seen:
        assert deployed.up("--yes")["healthy"]
    assert seen.failures == []
    assert [each for each in seen.answers if "sextant" not in each] == []
    assert made_by_dev() == []
    assert len(deployed.containers()) == 4


@pytest.mark.parametrize(
    ("words", "environment", "why"),
    [(("--stack", "prod"), {}, "protected"), ((), {"SLIPWAY_IMAGES": "external"}, "external")],
    ids=["protected", "external"],
)
def test_a_stack_that_takes_only_what_is_locked_is_refused(
    workspace: Workspace, words: tuple[str, ...], environment: dict[str, str], why: str
) -> None:
    ran = workspace.invoke("dev", *words, **environment)
    assert ran.code == 2, ran.output
    assert why in ran.output and "remedy" in ran.output


def test_a_second_ctrl_c_ends_at_once(deployed: Workspace) -> None:
    with session(deployed) as made:
        deployed.edit(API, '"lantern"', '"sextant"')
        serves(deployed, "/api/items", "sextant")
        made.child.send_signal(signal.SIGINT)
        made.says("Ctrl-C again ends at once")
        assert made.end() == 130
        assert "keep serving" in made.text
    assert deployed.get("/api/items")[0] == 200
    assert deployed.up("--yes")["healthy"]
    assert made_by_dev() == []


def test_a_saved_line_of_python_and_of_node_is_served_and_no_request_fails(working: Session, saving: Workspace) -> None:
    with calling(saving.port, "/api/items", "/") as seen:
        saving.edit(API, '"lantern"', '"sextant"')
        serves(saving, "/api/items", "sextant")
        saving.edit(WEB, "<h1>In stock</h1>", "<h1>On board</h1>")
        serves(saving, "/", "On board")
        wait_until(lambda: swapped(working, "web", 0), "web is told of")
    assert seen.failures == []
    assert seen.count("lantern") and seen.count("sextant") and seen.count("On board")
    told = [line for line in working.own() if "switch" in line]
    assert all(part in told[0] for part in (" s  ", "build ", "start ", "switch ")), told


def test_what_runs_is_told_while_it_works_and_nobody_deploys_beside_it(working: Session, saving: Workspace) -> None:
    saving.edit(API, '"anchor"', '"bollard"')
    serves(saving, "/api/items", "bollard")
    rows = {row["service"]: row for row in saving.invoke("status", "--json").json()}
    assert "invoke dev" in rows["api"]["drift"] and not rows["worker"]["drift"]
    for words in (("up",), ("dev",), ("down", "--yes")):
        ran = saving.invoke(*words)
        assert ran.code == 5 and "invoke dev" in ran.output, ran.output
    assert saving.get("/api/items")[0] == 200


def test_a_lib_reaches_both_of_its_users_in_one_round(working: Session, saving: Workspace) -> None:
    before = saving.containers_now()
    since = len(working.lines)
    saving.edit(LIB, '"logger"', '"said_by"')
    wait_until(lambda: all(swapped(working, each, since) for each in ("api", "worker")), "both users are told of")
    after = saving.containers_now()
    assert {service for service in before if before[service] != after[service]} == {"api", "worker"}
    working.says('worker │ {"time"', since)
    working.says('"said_by": "worker"', since)  # the log of the new container, by the new lib


def test_what_does_not_build_or_start_is_told_and_the_one_before_serves(working: Session, saving: Workspace) -> None:
    before, since = saving.containers_now(), len(working.lines)
    saving.edit("services/api/Dockerfile", "COPY --chmod=u=rwX,go=rX app app\nUSER", "COPY no-such-folder app\nUSER")
    working.says("no-such-folder", since)
    working.says("What ran before still serves", since)
    saving.restore()
    since = len(working.lines)
    saving.edit(API, "app = FastAPI(", 'raise RuntimeError("out of rope")\napp = FastAPI(')
    working.says("out of rope", since)
    working.says("The previous one still serves", since)
    assert saving.get("/api/items")[0] == 200
    saving.restore()
    saving.edit(API, '"cable"', '"hawser"')
    serves(saving, "/api/items", "hawser")
    assert saving.containers_now()["web"] == before["web"]


def test_what_decides_no_image_does_nothing_and_many_saves_are_few_rounds(working: Session, saving: Workspace) -> None:
    since, before = len(working.lines), saving.containers_now()
    (saving.root / "services" / "web" / "notes.tmp").write_text("not in the image", encoding="utf-8")
    (saving.root / "services" / "web" / "tests" / "web.test.js").touch()
    for number in range(20):
        file = saving.root / "services" / "api" / "app" / "main.py"
        text = file.read_text(encoding="utf-8")
        new = file.with_suffix(".new")  # as editors do it: another file that takes the name
        new.write_text(text.replace('"API"', f'"API {number}"').replace(f'"API {number - 1}"', f'"API {number}"'))
        new.rename(file)
    serves(saving, "/api/openapi.json", "API 19")
    wait_until(lambda: swapped(working, "api", since), "api is told of")
    rounds = [line for line in working.lines[since:] if " │ " not in line and "switch" in line]
    assert 1 <= len(rounds) <= 2 and all(line.startswith("api ") for line in rounds), rounds
    assert saving.containers_now()["web"] == before["web"]


def test_a_setting_goes_the_ordinary_way_and_takes_over_without_a_failed_request(
    working: Session, saving: Workspace
) -> None:
    saving.edit(API, '"compass"', '"gimbal"')
    settled(saving, "/api/items", "gimbal")
    since = len(working.lines)
    with calling(saving.port, "/api/items") as seen:
        saving.edit("services/api/service.toml", 'memory = "256m"', 'memory = "300m"')
        working.says("dev is deployed. Watching.", since)
    assert seen.failures == []
    assert [each for each in seen.answers if "gimbal" not in each] == []
    assert made_by_dev() == []
    found = engine.client().api.inspect_container(saving.ids()["api"])
    assert found["HostConfig"]["Memory"] == 300 * 1024 * 1024
