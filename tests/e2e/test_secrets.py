"""Settings and secrets reach the containers that they are meant for; a secret's value stands nowhere else."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

import pytest
from tests.e2e.conftest import NAME, REGISTRY
from tests.e2e.workspace import Workspace
from tests.own_python import lend

from slipway._internal.model import local_settings
from slipway._internal.model.masking import MASK
from slipway._internal.run import engine
from slipway._internal.toolchain import registry_daemon

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

RUN_TIME = "sentinel-of-the-running-service-4711"
BUILD_TIME = "sentinel-of-the-build-0815"


@pytest.fixture
def told(deployed: Workspace) -> Workspace:
    """A workspace whose API is given a variable and a secret."""
    deployed.edit("services/api/service.toml", '# secrets = ["API_TOKEN"]', 'secrets = ["API_TOKEN"]')
    deployed.env("api", "HARBOUR", "Kiel")
    file = deployed.root / "services" / "api" / "requirements.txt"
    file.write_text(f"{file.read_text(encoding='utf-8')}# the step that reads the build secret runs again\n")
    return deployed


def test_a_secret_that_was_never_set_is_named_with_the_command_that_sets_it(told: Workspace) -> None:
    before = told.ids()
    ran = told.invoke("up")
    assert ran.code == 2, ran.output
    assert "API_TOKEN" in ran.output and "api:API_TOKEN" in ran.output
    assert "pulumi config set --secret" in ran.output
    assert told.ids() == before


def test_settings_and_secrets_reach_the_container_and_the_values_stand_nowhere_else(told: Workspace) -> None:
    value = f"{RUN_TIME}\nwith a second line"
    ran = told.pulumi("config", "set", "--secret", "--stack", "dev", "api:API_TOKEN", stdin=value)
    assert ran.code == 0, ran.output
    with watched_arguments() as arguments:
        ran = told.invoke("up", PIP_CONF=f"# {BUILD_TIME}\n[global]\ntimeout = 60\n")
    assert ran.code == 0, ran.output
    assert json.loads(told.get("/api/info")[1])["secrets"] == ["API_TOKEN"]

    api = told.containers()["api"]
    show = (
        "import os; f = '/run/secrets/API_TOKEN'; s = os.stat(f); print(oct(s.st_mode), s.st_uid);"
        "print(open(f).read()); print(os.environ['HARBOUR'])"
    )
    code, text = engine.exec_command(api.id, ["/app/.venv/bin/python", "-c", show])
    assert (code, text) == (0, f"0o100400 65532\n{value}\nKiel")
    beside = told.invoke("run", "api", "--", "python", "-c", show)
    assert (beside.code, beside.stdout) == (0, f"0o100400 65532\n{value}\nKiel\n")

    sentinels = [RUN_TIME.encode(), BUILD_TIME.encode()]
    places = {
        "the output": [("", ran.output.encode())],
        "arguments of processes": [("", "\n".join(sorted(arguments)).encode())],
        "the workspace's files": files(told.root),
        "the engine's words": inspected(told),
        "the image": image(api.image),
        "the registry": files(registry_daemon.state_folder(registry_daemon.split_address(REGISTRY)[1]) / "data"),
        "logs": [(name, "\n".join(engine.read_logs(each.id)).encode()) for name, each in told.containers().items()],
    }
    for place, texts in places.items():
        seen = 0
        for name, data in texts:
            seen += len(data)
            assert not [each for each in sentinels if each in plain(data)], f"{place}: {name}"
        assert seen, f"nothing was looked at in {place}"


def clone_beside(workspace: Workspace, folder: Path) -> Workspace:
    """Return a clone that may run beside the workspace, on a port that is kept for it."""
    workspace.git("clone", "--quiet", str(workspace.root), str(folder / "clone"))
    port = workspace.port + 2
    (folder / "clone" / ".slipway").mkdir()
    local_settings.save(folder / "clone", "clone", {"dev": port})
    return Workspace(folder / "clone", port)


def test_the_stacks_file_is_as_it_was_committed_and_a_clone_needs_no_passphrase(
    deployed: Workspace, tmp_path: Path
) -> None:
    assert "encryptionsalt" not in (deployed.root / "infra" / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    clone = clone_beside(deployed, tmp_path)
    ran = clone.invoke("preview")
    assert ran.code == 0, ran.output
    assert clone.git("status", "--porcelain") == ""
    assert deployed.git("status", "--porcelain") == ""


def test_a_clone_that_lacks_the_passphrase_of_secrets_is_told_how_it_is_had(told: Workspace, tmp_path: Path) -> None:
    file = told.root / "infra" / "Pulumi.dev.yaml"
    assert told.pulumi("config", "set", "--secret", "--stack", "dev", "api:API_TOKEN", stdin=RUN_TIME).code == 0
    clone = clone_beside(told, tmp_path)
    (clone.root / "infra" / "Pulumi.dev.yaml").write_bytes(file.read_bytes())
    ran = clone.invoke("preview")
    assert ran.code == 2, ran.output
    assert "Pulumi.dev.yaml" in ran.output and "PULUMI_CONFIG_PASSPHRASE" in ran.output
    wrong = clone.invoke("preview", PULUMI_CONFIG_PASSPHRASE="another one")
    assert wrong.code == 2, wrong.output
    assert "PULUMI_CONFIG_PASSPHRASE holds another passphrase" in wrong.output
    phrase = told.root / ".slipway" / "passphrase"
    right = clone.invoke("preview", PULUMI_CONFIG_PASSPHRASE_FILE=str(phrase))
    assert right.code == 0, right.output


def test_a_build_secret_of_the_stack_is_passed_before_anything_was_deployed(
    deployed: Workspace, tmp_path: Path
) -> None:
    clone = clone_beside(deployed, tmp_path)
    clone.edit("workspace.toml", "[build.secrets]", '[build.secrets]\ntoken = { config = "token" }')
    count = "[ ! -e /run/secrets/token ] || echo of $(wc -c </run/secrets/token)"
    step = f"RUN --mount=type=secret,id=token : {token_hex(8)}; {count}\n"  # no cache knows it
    clone.edit("services/worker/Dockerfile", "AS build\n", f"AS build\n{step}")
    ran = clone.invoke("build", "worker")
    assert ran.code == 0, ran.output
    program = [lend(clone.root), "-P", "-m", "slipway._internal.run.plain_pulumi"]
    plain = [*program, clone.root, clone.root / ".slipway" / "bin" / "pulumi"]
    words = ["config", "set", "--secret", "--stack", "dev", "build:token"]
    subprocess.run([*plain, *words], cwd=clone.root / "infra", input=b"twelve bytes", check=True)
    clone.edit("services/worker/Dockerfile", "echo of", "echo it is of")
    ran = clone.invoke("build", "worker")
    assert ran.code == 0, ran.output
    assert "it is of 12" in (clone.root / ".slipway" / "logs" / "worker.build.log").read_text(encoding="utf-8")


PRINTING = """
RUN --mount=type=secret,id=pip-conf cat /run/secrets/pip-conf && base64 /run/secrets/pip-conf && exit 3
"""
DYING = """
import base64, pathlib
secret = pathlib.Path("/run/secrets/API_TOKEN").read_text()
print(secret, base64.b64encode(secret.encode()).decode(), flush=True)
sys.exit(4)
"""


@pytest.mark.parametrize("verb", ["up", "build", "test"])
def test_a_step_that_prints_a_build_secret_and_fails_shows_it_nowhere(deployed: Workspace, verb: str) -> None:
    stage = "FROM build AS test\n" if verb == "test" else "FROM ${PYTHON_BUILD} AS build\n"
    deployed.edit("services/api/Dockerfile", stage, stage + PRINTING)
    ran = deployed.invoke(
        *((verb, "--services", "api") if verb != "up" else ("up",)), PIP_CONF=f"{BUILD_TIME}\n[global]\n"
    )
    assert ran.code, ran.output
    assert MASK in ran.output, "the step's own words are shown"
    assert_nowhere(BUILD_TIME, deployed, ran.output)


def test_a_container_that_prints_its_secret_and_dies_shows_it_nowhere(told: Workspace) -> None:
    assert told.pulumi("config", "set", "--secret", "--stack", "dev", "api:API_TOKEN", stdin=RUN_TIME).code == 0
    told.edit("services/api/app/__main__.py", "import uvicorn", f"{DYING}\nimport uvicorn")
    ran = told.invoke("up")
    assert ran.code == 1, ran.output
    assert f"{MASK} {MASK}" in ran.output, "its last lines are shown"
    assert_nowhere(RUN_TIME, told, ran.output)


def assert_nowhere(secret: str, workspace: Workspace, output: str) -> None:
    """Assert that no way of writing a secret is in what a command said or left behind for people to read."""
    ways = [secret.encode(), base64.b64encode(secret.encode())[:-4], quote(secret).encode()]
    kept = {name: data for name, data in files(workspace.root / ".slipway") if not name.startswith(("oci/", "state/"))}
    assert any(name.startswith("logs/") for name in kept)
    for place, data in {"the output": output.encode(), **kept}.items():
        assert not [way for way in ways if way in data], place
    for name in (*kept, ""):
        if name.startswith(("logs/", "records/")) and "images/" not in name:
            assert (workspace.root / ".slipway" / name).stat().st_mode & 0o077 == 0, name
    assert (workspace.root / ".slipway").stat().st_mode & 0o777 == 0o700


@contextmanager
def watched_arguments() -> Iterator[set[str]]:
    """Collect the arguments of every process that is seen while the body runs."""
    found: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    found.add(path.read_text(encoding="utf-8", errors="replace"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.read_bytes()


def inspected(workspace: Workspace) -> Iterator[tuple[str, bytes]]:
    """Yield what the engine tells about each container and image to whoever may ask."""
    api = engine.client().api
    for name, each in workspace.containers().items():
        yield name, json.dumps(api.inspect_container(each.id)).encode()
        yield f"{name}'s image", json.dumps([api.inspect_image(each.image), api.history(each.image)]).encode()
    for each in api.volumes(filters={"label": f"{engine.WORKSPACE_LABEL}={NAME}"})["Volumes"]:
        yield each["Name"], json.dumps(each).encode()


def image(ref: str) -> Iterator[tuple[str, bytes]]:
    """Yield each file of an image, layers as the tar archives that they are."""
    archive = io.BytesIO(b"".join(engine.client().images.get(ref).save()))
    with tarfile.open(fileobj=archive) as tar:
        for member in tar:
            if content := tar.extractfile(member) if member.isfile() else None:
                yield member.name, content.read()


def plain(data: bytes) -> bytes:
    """Return bytes as they were before they were compressed, where they were."""
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
