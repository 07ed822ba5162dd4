"""Services that keep data: real databases, through kills, replacements, deploys under writes, backups and removal.

What the minutes buy: that no committed row is lost, whatever happens to the container, and that no data goes unasked.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import NAME
from tests.e2e.workspace import Workspace, tiny_disk, wait_until

from slipway._internal.run import engine

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
API = "services/api/service.toml"
SECRETS = ("DB_PASSWORD", "DB_URL")


@pytest.fixture(scope="module")
def kept(first: object, baked: Workspace) -> Iterator[Workspace]:
    """The workspace with a database that the API needs; all of it is gone afterwards, the data too."""
    workspace = baked
    workspace.restore()
    for kind, name in (("postgres", "db"), ("valkey", "cache-store")):
        made = workspace.invoke("new", name, "--kind", kind)
        assert made.code == 0, made.output
    workspace.edit(API, '# needs = ["db"]', 'needs = ["db", "cache-store"]')
    workspace.edit(API, "# release = ", "release = ")
    workspace.up("--yes")
    try:
        yield workspace
    finally:
        workspace.piped("down", "--volumes", "--yes", stdin=f"{NAME}-dev\n")
        shutil.rmtree(workspace.root / ".slipway" / "backups", ignore_errors=True)
        workspace.restore()
        workspace.up("--yes")  # what the other tests expect


def sql(workspace: Workspace, text: str, *where: str) -> str:
    """Run a statement in the database, and return what it prints."""
    ran = workspace.piped("exec", "db", *where, "--", "psql", "-Atqc", text)
    assert ran.code == 0, ran.output
    return ran.stdout.strip()


def data_volumes() -> list[str]:
    found = engine.client().api.volumes(
        filters={"label": [engine.DATA_LABEL, f"{engine.WORKSPACE_LABEL}={NAME}", f"{engine.STACK_LABEL}=dev"]}
    )
    return sorted(volume["Name"] for volume in found["Volumes"] or [])


def test_a_first_deploy_migrates_a_new_database_and_the_api_keeps_its_items_there(kept: Workspace) -> None:
    assert sql(kept, "SELECT count(*) FROM items") == "4"
    assert kept.get("/api/items")[0] == 200
    assert sql(kept, "SELECT count(*) FROM migrations") == "1"


def test_the_password_is_a_file_and_nowhere_else(kept: Workspace) -> None:
    password = kept.piped("exec", "api", "--", "python", "-c", "print(open('/run/secrets/DB_PASSWORD').read())").stdout
    assert len(password.strip()) == 32
    listed = kept.piped("exec", "api", "--", "python", "-c", "import os; print(*sorted(os.listdir('/run/secrets')))")
    assert {*SECRETS, "CACHE_STORE_PASSWORD", "CACHE_STORE_URL"} == set(listed.stdout.split())
    shown = kept.piped("exec", "api", "--", "python", "-c", "import os; print(os.environ['DB_URL'])").stdout
    assert shown.strip() == "postgres://app@db:5432/app"
    inspected = subprocess.run(
        ["docker", "inspect", *kept.ids().values()], capture_output=True, text=True, check=True
    ).stdout
    state = "".join(path.read_text() for path in (kept.root / ".slipway" / "state").rglob("*.json"))
    logs = "".join(path.read_text(errors="replace") for path in (kept.root / ".slipway" / "logs").rglob("*.log"))
    files = "".join(path.read_text() for path in (kept.root / "infra").glob("Pulumi.*.yaml"))
    for place in (inspected, state, logs, files):
        assert password.strip() not in place


def test_a_redis_client_reaches_the_store_by_its_secret(kept: Workspace) -> None:
    asks = ["exec", "cache-store", "--", "sh", "/usr/local/bin/ask.sh"]
    assert kept.piped(*asks, "SET", "answer", "42").stdout.strip() == "OK"
    refused = kept.piped("exec", "cache-store", "--", "valkey-cli", "-e", "GET", "answer")
    assert refused.code != 0 and "NOAUTH" in refused.output
    saved = kept.invoke("backup", "cache-store", "--file", str(kept.root / ".slipway" / "cache.gz"))
    assert saved.code == 0, saved.output
    kept.piped(*asks, "SET", "answer", "43")
    restored = kept.invoke("restore", "cache-store", str(kept.root / ".slipway" / "cache.gz"), "--yes")
    assert restored.code == 0, restored.output
    assert kept.piped(*asks, "GET", "answer").stdout.strip() == "42"


@contextmanager
def writing(workspace: Workspace) -> Iterator[list[int]]:
    """Commit one row after another, and yield the list of those that the database has confirmed."""
    confirmed: list[int] = []
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            insert = f"INSERT INTO written VALUES ({number})"
            done = subprocess.run(
                ["docker", "exec", container(), "psql", "-Atqc", insert], capture_output=True, check=False
            )
            if done.returncode == 0:
                confirmed.append(number)
            time.sleep(0.02)

    def container() -> str:
        return next(
            (
                each.id
                for each in engine.list_containers(NAME, "dev")
                if each.service == "db" and each.state == "running"
            ),
            "none",
        )

    sql(workspace, "CREATE TABLE IF NOT EXISTS written (n integer); TRUNCATE written")
    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_until(lambda: len(confirmed) > 5, "rows are written")
        yield confirmed
    finally:
        over.set()
        thread.join()


def rows(workspace: Workspace) -> set[int]:
    return {int(line) for line in sql(workspace, "SELECT n FROM written").split()}


def test_no_committed_row_is_lost_when_the_server_is_killed(kept: Workspace) -> None:
    """The server is killed while rows are written, twice: the engine starts it again, and all are there."""
    with writing(kept) as confirmed:
        for _ in range(2):
            (pid,) = engine.client().containers.get(kept.ids()["db"]).top(ps_args="-o pid,ppid")["Processes"][:1]
            before = len(confirmed)
            subprocess.run(["kill", "-9", pid[0]], check=True)
            wait_until(lambda before=before: len(confirmed) > before + 5, "rows are written again")
    assert set(confirmed) <= rows(kept)


def test_no_committed_row_is_lost_in_a_deploy_and_never_do_two_servers_run(kept: Workspace) -> None:
    """A deploy under writes stops the old server before the new one starts, on the same volume."""
    before = kept.ids()["db"]
    with writing(kept) as confirmed:
        kept.env("db", "LOG_LEVEL", "info")
        kept.up("--yes")
        after = len(confirmed)
        wait_until(lambda: len(confirmed) > after + 5, "rows are written again")
    assert kept.ids()["db"] != before
    assert set(confirmed) <= rows(kept)
    assert data_volumes() == [f"{NAME}-dev-cache-store.data", f"{NAME}-dev-db.data"]


def test_a_new_one_that_does_not_start_gives_way_to_the_old_one(kept: Workspace) -> None:
    before = kept.ids()["db"]
    text = (kept.root / "services/db/service.toml").read_text()
    kept.edit("services/db/service.toml", "# command = [", 'command = ["postgres", "-c", "no_such=1"]\n# command = [')
    try:
        failed = kept.invoke("up", "--yes")
    finally:
        (kept.root / "services/db/service.toml").write_text(text)
    assert failed.code == 1 and "no_such" in failed.output
    assert kept.ids()["db"] == before
    assert sql(kept, "SELECT count(*) FROM items") == "4"
    kept.up("--yes")


def test_another_container_on_the_volume_is_refused(kept: Workspace) -> None:
    image = engine.client().containers.get(kept.ids()["db"]).image.id
    volume = f"{NAME}-dev-db.data"
    other = engine.client().containers.run(
        image, ["sleep", "600"], entrypoint=[], detach=True, volumes={volume: {"bind": "/x", "mode": "ro"}}
    )
    try:
        text = (kept.root / "services/db/service.toml").read_text()
        kept.edit("services/db/service.toml", 'memory = "512m"', 'memory = "500m"')
        before = kept.ids()["db"]
        ran = kept.invoke("up", "--yes")
        (kept.root / "services/db/service.toml").write_text(text)
        assert ran.code == 1 and other.name in ran.output
        assert kept.ids()["db"] == before
    finally:
        other.remove(force=True)
    kept.up("--yes")


def test_a_damaged_backup_restores_nothing_and_a_whole_one_all(kept: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "db.gz"
    saved = kept.invoke("backup", "db", "--file", str(file), "--json").json()
    assert saved["bytes"] == file.stat().st_size and file.stat().st_mode & 0o777 == 0o600
    again = kept.invoke("backup", "db", "--file", str(file))
    assert again.code == 2 and "is there already" in again.output
    sql(kept, "DELETE FROM items")
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(file.read_bytes()[:-20])
    refused = kept.invoke("restore", "db", str(damaged), "--yes")
    assert refused.code == 2 and "is damaged" in refused.output
    unasked = kept.invoke("restore", "db", str(file))
    assert unasked.code == 2 and "nobody confirmed" in unasked.output
    assert sql(kept, "SELECT count(*) FROM items") == "0"
    restored = kept.invoke("restore", "db", str(file), "--yes")
    assert restored.code == 0, restored.output
    assert sql(kept, "SELECT count(*) FROM items") == "4"
    missing = kept.invoke("backup", "web")
    assert missing.code == 2 and "[backup]" in missing.output


@pytest.fixture(scope="module")
def staging(kept: Workspace) -> Iterator[Workspace]:
    """The workspace with a second stack, whose database is to have a volume of 20 MB, which is too small for it."""
    kept.edit("infra/Pulumi.staging.yaml", "slipway:images: external", "slipway:images: inline")
    kept.pulumi("stack", "init", "staging")
    for service in ("db", "cache-store"):
        words = ("config", "set", "--secret", "--stack", "staging", f"{service}:PASSWORD")
        written = kept.pulumi(*words, stdin=f"{service}-in-staging")
        assert written.code == 0, written.output
    make_volume("20m")
    try:
        yield kept
    finally:
        kept.piped("down", "--stack", "staging", "--volumes", "--yes", stdin=f"{NAME}-staging\n")


STAGING_VOLUME = f"{NAME}-staging-db.data"


def make_volume(size: str) -> None:
    """Make the volume of the other stack's database, in memory and of this size."""
    client = engine.client()
    if STAGING_VOLUME in {volume.name for volume in client.volumes.list()}:
        client.volumes.get(STAGING_VOLUME).remove()
    labels = client.volumes.get(f"{NAME}-dev-db.data").attrs["Labels"]
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={size},uid=65532,gid=65532"}
    urn = labels[engine.URN_LABEL].replace("urn:pulumi:dev:", "urn:pulumi:staging:")
    labels = {**labels, engine.STACK_LABEL: "staging", engine.URN_LABEL: urn}
    client.volumes.create(name=STAGING_VOLUME, driver="local", driver_opts=options, labels=labels)


def test_data_go_to_no_stack_that_was_never_deployed(kept: Workspace, tmp_path: Path) -> None:
    file = str(tmp_path / "db.gz")
    assert kept.invoke("backup", "db", "--file", file).code == 0
    for words in (("restore", "db", file, "--yes"), ("backup", "db", "--file", str(tmp_path / "other.gz"))):
        refused = kept.invoke(*words, "--stack", "staging")
        assert refused.code == 2, refused.output
        assert "db does not run in staging" in refused.output
        assert "`invoke deploy --stack staging`" in refused.line("  remedy")
    assert [path.name for path in tmp_path.iterdir()] == ["db.gz"]


def test_a_backup_needs_room_or_is_not_there(kept: Workspace, tmp_path: Path) -> None:
    sql(kept, "CREATE TABLE noise AS SELECT md5(random()::text) AS t FROM generate_series(1, 60000)")
    with tiny_disk(tmp_path):
        full = kept.invoke("backup", "db", "--file", str(tmp_path / "db.gz"))
        left = list(tmp_path.iterdir())
    sql(kept, "DROP TABLE noise")
    assert full.code == 1 and left == []
    assert f"{tmp_path}/db.gz cannot be written: the disk is full" in full.output
    assert f"df -h {tmp_path}" in full.line("  remedy")


def test_a_volume_that_is_too_small_is_named_by_the_deploy(staging: Workspace) -> None:
    failed = staging.invoke("deploy", "--stack", "staging", "--yes")
    assert failed.code == 1, failed.output
    assert f"service db failed: it ended with exit code 1; {STAGING_VOLUME} is full" in failed.output
    assert "No space left on device" in failed.output
    assert f"docker volume inspect {STAGING_VOLUME}" in failed.line("  remedy")


def test_a_backup_replaces_what_another_stack_has_but_not_its_password(staging: Workspace, tmp_path: Path) -> None:
    """Rows, sequences and the owner come over; what the other stack had goes, though it hangs on what comes."""
    make_volume("72m")
    deployed = staging.invoke("deploy", "--stack", "staging", "--yes")
    assert deployed.code == 0, deployed.output
    at = ("--stack", "staging")
    sql(staging, "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int)")
    sql(staging, "INSERT INTO orders (n) SELECT g FROM generate_series(1, 500) AS g")
    sql(staging, "CREATE TABLE later (item int REFERENCES items)", *at)
    asks = ("sh", "/usr/local/bin/ask.sh")
    staging.piped("exec", "cache-store", "--", *asks, "SET", "here", "dev")
    staging.piped("exec", "cache-store", *at, "--", *asks, "SET", "there", "staging")
    for service in ("db", "cache-store"):
        file = str(tmp_path / f"{service}.gz")
        assert staging.invoke("backup", service, "--file", file).code == 0
        unasked = staging.invoke("restore", service, file, *at)
        assert unasked.code == 2 and f"{NAME}-staging-{service}.data" in unasked.output
        restored = staging.invoke("restore", service, file, *at, "--yes")
        assert restored.code == 0, restored.output
    assert sql(staging, "SELECT count(*), max(id) FROM orders", *at) == "500|500"
    assert sql(staging, "INSERT INTO orders (n) VALUES (0) RETURNING id", *at) == "501"
    assert sql(staging, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'", *at) == "app"
    assert sql(staging, "SELECT to_regclass('later') IS NULL", *at) == "t"
    connect = "import os, psycopg; psycopg.connect(open('/run/secrets/DB_URL').read()).execute('SELECT FROM items')"
    used = staging.piped("exec", "api", *at, "--", "python", "-c", connect)
    assert used.code == 0, used.output
    password = "open('/run/secrets/DB_PASSWORD').read()"
    shown = staging.piped("exec", "api", *at, "--", "python", "-c", f"print({password})")
    assert shown.stdout.strip() == "db-in-staging"
    assert staging.piped("exec", "cache-store", *at, "--", *asks, "GET", "here").stdout.strip() == "dev"
    assert staging.piped("exec", "cache-store", *at, "--", *asks, "GET", "there").stdout.strip() == ""


def test_a_full_volume_is_named_by_all_that_find_it(staging: Workspace, tmp_path: Path) -> None:
    """A backup does not fit: `restore` says so, and `status` for a while after, whether the server lives on or not."""
    file, at = str(tmp_path / "big.gz"), ("--stack", "staging")
    sql(staging, "CREATE TABLE big AS SELECT repeat(md5(g::text), 30) AS t FROM generate_series(1, 20000) AS g")
    assert staging.invoke("backup", "db", "--file", file).code == 0
    sql(staging, "DROP TABLE big")
    image = engine.client().containers.get(staging.ids("staging")["db"]).image.id
    holder = engine.client().containers.run(  # keeps what is in memory if the server starts again
        image, ["busybox", "sleep", "600"], entrypoint=[], detach=True, volumes={STAGING_VOLUME: {"bind": "/x"}}
    )
    try:
        unfit = staging.invoke("restore", "db", file, *at, "--yes")
        drift = status_of_db(staging)["drift"]
    finally:
        holder.remove(force=True)
    assert unfit.code == 1 and f"db: the backup does not fit: {STAGING_VOLUME} is full" in unfit.output
    assert f"docker volume inspect {STAGING_VOLUME}" in unfit.line("  remedy")
    assert f"{STAGING_VOLUME} is full" in drift and "make room" in drift


def status_of_db(workspace: Workspace) -> dict[str, str]:
    """Return what `invoke status` says of the other stack's database."""
    rows = workspace.invoke("status", "--stack", "staging", "--json").json()
    return next(row for row in rows if row["service"] == "db")


def test_a_lost_password_is_not_replaced_by_a_new_one(kept: Workspace) -> None:
    file = kept.root / "infra" / "Pulumi.dev.yaml"
    text = file.read_text()
    lines = text.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "db:PASSWORD" in line)
    file.write_text("".join(lines[:at] + lines[at + 2 :]))
    try:
        ran = kept.invoke("up", "--yes")
    finally:
        file.write_text(text)
    assert ran.code == 2 and "db:PASSWORD" in ran.output and "git log" in ran.output


def test_a_queue_starts_in_an_empty_folder_and_keeps_what_it_has(kept: Workspace) -> None:
    """The third kind that keeps data, by its own tests: its server is the heaviest, so it is not deployed here."""
    made = kept.invoke("new", "queue", "--kind", "rabbitmq")
    assert made.code == 0, made.output
    try:
        tested = kept.invoke("test", "queue")
    finally:
        shutil.rmtree(kept.root / "services" / "queue")
    assert tested.code == 0, tested.output


def test_down_keeps_data_until_its_name_is_typed(kept: Workspace) -> None:
    """The last of this file: what `down --volumes` removes is gone."""
    sql(kept, "INSERT INTO items (name, stock) VALUES ('sextant', 3)")
    down = kept.invoke("down", "--yes")
    assert down.code == 0 and f"{NAME}-dev-db.data" in down.output
    assert len(data_volumes()) == 2
    kept.up("--yes")
    assert sql(kept, "SELECT stock FROM items WHERE name = 'sextant'") == "3"
    for typed in ("", "yes\n", f"{NAME}\n"):
        refused = kept.piped("down", "--volumes", "--yes", stdin=typed)
        assert refused.code == 2 and "was not typed" in refused.output
    assert kept.get("/api/items")[0] == 200 and len(data_volumes()) == 2
    removed = kept.piped("down", "--volumes", "--yes", stdin=f"{NAME}-dev\n")
    assert removed.code == 0, removed.output
    assert data_volumes() == []
