"""The session that the README shows: recorded from a real workspace, and the same as the picture in docs/.

The texts of commands change with every version. Only a recording tells whether the picture still shows what they say.
`./run session` records it anew.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import uuid

import pytest
from tests.conftest import ROOT
from tests.e2e.conftest import NAME, REGISTRY
from tests.e2e.terminal import Typed, as_svg, lines_of_svg, record
from tests.e2e.workspace import UP_SECONDS, Workspace, wait_until
from tests.own_python import lend

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

PICTURE = ROOT / "docs" / "session.svg"
WRITE = "SLIPWAY_RECORD_SESSION"
COMMANDS = (
    "invoke status",
    "sed -i s/lantern/sextant/ services/api/app/main.py",
    "invoke build --why",
    "invoke up",
    "invoke mode",
)


@pytest.fixture
def session(deployed: Workspace) -> list[Typed]:
    """What a terminal shows of the commands, in turn.

    The API's sources are new ones, which no registry has, and are deployed and built: so its image has to be built
    after the change, and `--why` has something to compare with. What earlier tests have built lies beside them no more:
    such an image is told as built, not as one of the registry.
    """
    shutil.rmtree(deployed.root / ".slipway" / "oci", ignore_errors=True)
    with (deployed.root / "services" / "api" / "app" / "main.py").open("a", encoding="utf-8") as file:
        file.write(f"# {uuid.uuid4()}\n")
    deployed.up()
    built = deployed.invoke("build")
    assert built.code == 0, built.output
    wait_until(
        lambda: all(container.health != "starting" for container in deployed.containers().values()),
        "the engine itself calls every container healthy",
    )
    return [run_in_terminal(deployed, command) for command in COMMANDS]


def run_in_terminal(workspace: Workspace, command: str) -> Typed:
    words = shlex.split(command)
    if words[0] == "invoke":
        words = [str(lend(workspace.root)), "-m", *words]
    return record(command, words, workspace.root, {**os.environ, **workspace.environment}, UP_SECONDS)


def test_the_session_in_the_readme_is_what_the_commands_print(deployed: Workspace, session: list[Typed]) -> None:
    failed = [f"{ran.command}: {ran.code}\n{ran.text}" for ran in session if ran.code]
    assert failed == []
    drawn = as_svg(session, "demo", lambda line: as_generated(line, deployed.port))
    if os.environ.get(WRITE):
        PICTURE.write_text(drawn, encoding="utf-8")
    shown = lines_of_svg(PICTURE.read_text(encoding="utf-8"))
    assert [line for line in shown if line.startswith("$ ")] == [f"$ {command}" for command in COMMANDS]
    expected, found = by_command(shown), by_command(lines_of_svg(drawn))
    for command in COMMANDS:
        assert found[f"$ {command}"] == expected[f"$ {command}"], command


def test_what_the_session_changed_is_deployed(deployed: Workspace, session: list[Typed]) -> None:
    assert session[-1].code == 0, session[-1].text
    assert "sextant" in deployed.get("/api/items")[1]


def as_generated(line: str, port: int) -> str:
    """Show the names that a workspace has by default, not the test's; columns stay where they are."""
    line = re.sub(rf":{port}(/[\w/]*)?", lambda found: f":8080{found[1] or ''}".ljust(len(found[0])), line)
    image = rf"{re.escape(REGISTRY)}/{NAME}(/[\w/@:-]*)"
    return re.sub(image, lambda found: f"127.0.0.1:5000/demo{found[1]}".ljust(len(found[0])), line)


def by_command(lines: list[str]) -> dict[str, list[str]]:
    """Return the lines under each command without what differs from run to run: figures, digests, order, width."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("$ "):
            under = found.setdefault(line, [])
        elif line.strip():
            under.append(masked(line))
    return {command: sorted(under) for command, under in found.items()}


def masked(line: str) -> str:
    line = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b", "DIGEST", line)
    line = re.sub(r"\b\d+(?:\.\d+)? (?:s|min|h|d)\b", "TIME", line)
    return re.sub(r"[\s─]+", " ", line).strip()


def test_default_names_are_shown_and_columns_stay() -> None:
    line = f"api   {REGISTRY}/{NAME}/api@sha256:0123456789ab   http://127.0.0.1:18180/api   OK"
    shown = as_generated(line, 18180)
    assert shown.split() == ["api", "127.0.0.1:5000/demo/api@sha256:0123456789ab", "http://127.0.0.1:8080/api", "OK"]
    assert shown.index("OK") == line.index("OK")


def test_figures_digests_and_widths_may_differ_and_words_may_not() -> None:
    one, other = "api   │ 0123456789ab   healthy   12.3 s ──", "api │ ba9876543210 healthy 4 min ───"
    assert masked(one) == masked(other)
    assert masked(one) != masked(one.replace("healthy", "missing"))
