"""A Compose file's passwords: in no file of the workspace, and yet where the program looks for them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.adopt.made_up import DOCKERFILE, found, make_workspace, pins, plan, read, write

from slipway._internal.adopt.compose import plan_compose
from slipway._internal.adopt.compose_secrets import is_secret
from slipway._internal.adopt.plan import Draft, Plan
from slipway._internal.adopt.staging import staged

SECRET = "Hunter-2.Hunter-2"
PRINT = """CMD ["printenv", "DATABASE_URL"]\n"""
DATABASE = {
    "image": "postgres:16",
    "environment": {"POSTGRES_PASSWORD": SECRET, "POSTGRES_USER": "shop", "POSTGRES_DB": "wares"},
}
KINDS = {
    "postgres": 'kind = "postgres"\nport = 5432\ngenerated = ["PASSWORD"]\nurl = "postgres://app:{PASSWORD}@{host}:{port}/app"\n',
    "valkey": 'kind = "valkey"\nport = 6379\ngenerated = ["PASSWORD"]\nurl = "redis://:{PASSWORD}@{host}:{port}/0"\n',
    "rabbitmq": 'kind = "rabbitmq"\nport = 5672\ngenerated = ["PASSWORD"]\nurl = "amqp://app:{PASSWORD}@{host}:{port}/"\n',
}
URLS = {
    "DB_URL": "postgres://app:made@db:5432/app",
    "CACHE_URL": "redis://:made@cache:6379/0",
    "QUEUE_URL": "amqp://app:made@queue:5672/",
}


def adopted(
    tmp_path: Path, environment: dict[str, Any], dockerfile: str = DOCKERFILE + PRINT, **more: Any
) -> tuple[Draft, Plan]:
    """Return the draft of a program with this environment beside a database, and the plan."""
    folder = write(tmp_path / "shop", app__Dockerfile=dockerfile)
    workspace = make_workspace(tmp_path / "workspace")
    for kind, text in KINDS.items():
        write(workspace.root / "kinds" / kind, Dockerfile="ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\n")
        (workspace.root / "kinds" / kind / "service.toml").write_text(text, encoding="utf-8")
    app = {"build": {"context": str(folder / "app")}, "environment": environment, "depends_on": {"db": None}}
    services = {"app": {**app, **more}, "db": DATABASE, "cache": {"image": "redis:7"}, "queue": {"image": "rabbitmq:4"}}
    made = plan(folder, "services: {app: {}, db: {}, cache: {}, queue: {}}\n", services)
    with staged(workspace, made) as written:
        files = [path.read_text(errors="replace") for path in written.rglob("*") if path.is_file()]
    assert not any(SECRET in text for text in files)
    assert not any(SECRET in f"{row.why}{row.instead}" for row in made.all_rows())
    return made.drafts[0], made


def started(tmp_path: Path, draft: Draft, *printed: str) -> list[str]:
    """Return what the variables have when a real shell has started the program, whose secrets are files."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, url in URLS.items():
        (folder / name).write_text(url)
        (folder / name.replace("_URL", "_PASSWORD")).write_text("made")
    for name in draft.settings.get("secrets", ()):
        (folder / name).write_text("the team's own $(x) '")
    words = [word.replace("/run/secrets", str(folder)) for word in draft.settings["entrypoint"]]
    shows = ["sh", "-c", "; ".join(f'printf "%s\\n" "${name}"' for name in printed)]
    return subprocess.run([*words, *shows], capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "given", "gets"),
    [
        ("DATABASE_URL", f"postgres://shop:{SECRET}@db/wares", URLS["DB_URL"]),
        (
            "DATABASE_URL",
            f"postgresql+asyncpg://shop:{SECRET}@db:5432/wares?ssl=no",
            "postgresql+asyncpg://app:made@db:5432/app?ssl=no",
        ),
        ("REDIS_URL", "redis://cache:6379/3", "redis://:made@cache:6379/3"),
        ("REDIS_URL", "redis://cache", "redis://:made@cache:6379/0"),
        ("BROKER", "amqp://guest:guest@queue//", "amqp://app:made@queue:5672/"),
        ("PGPASSWORD", SECRET, "made"),
        ("SIGNING_KEY", "abc-def", "the team's own $(x) '"),
    ],
)
def test_a_shell_gives_a_program_the_passwords_that_it_had(tmp_path: Path, name: str, given: str, gets: str) -> None:
    draft, _ = adopted(tmp_path, {name: given, "PLAIN": "1"})
    assert draft.settings["env"] == {"PLAIN": "1"}
    assert draft.settings["command"] == ["printenv", "DATABASE_URL"]
    assert started(tmp_path, draft, name) == [gets]


def test_what_the_service_needs_is_named_and_the_kinds_user_and_database_are_given(tmp_path: Path) -> None:
    environment = {
        "DB_USER": "shop",
        "DB_NAME": "wares",
        "DB_PASSWORD": SECRET,
        "CACHE": "redis://cache/1",
        "X": "shop",
    }
    draft, made = adopted(tmp_path, environment)
    assert draft.settings["needs"] == ["db", "cache"]
    assert draft.settings["env"] == {"DB_USER": "app", "DB_NAME": "app", "X": "shop"}
    assert found(made, "environment.DB_USER").why == "shop is app in db now"
    assert "secrets" not in draft.settings and made.commands == []


def test_a_secret_of_its_own_is_set_by_a_command(tmp_path: Path) -> None:
    draft, made = adopted(tmp_path, {"API_KEY": "abc-def"})
    assert draft.settings["secrets"] == ["API_KEY"]
    assert made.commands == ["cd infra && ../.venv/bin/pulumi config set --secret --stack dev app:API_KEY"]


@pytest.mark.parametrize(
    "dockerfile",
    [
        "ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\nEXPOSE 80\n" + PRINT,
        "FROM scratch\nEXPOSE 80\n" + PRINT,
        DOCKERFILE,
    ],
)
def test_without_a_shell_or_a_known_program_the_file_is_named_with_its_line(tmp_path: Path, dockerfile: str) -> None:
    draft, made = adopted(tmp_path, {"DATABASE_URL": f"postgres://shop:{SECRET}@db/wares"}, dockerfile)
    assert draft.settings["env"] == {"DATABASE_URL_FILE": "/run/secrets/DB_URL"}
    assert "entrypoint" not in draft.settings and draft.settings["needs"] == ["db"]
    row = found(made, "environment.DATABASE_URL")
    assert (row.fate, row.where.rpartition(":")[2]) == ("not carried over", "1")
    assert "/run/secrets/DB_URL" in row.why and "DATABASE_URL_FILE" in row.instead


def test_a_store_that_wanted_no_password_is_told_where_none_is_given(tmp_path: Path) -> None:
    _, made = adopted(tmp_path, {"REDIS_HOST": "cache"}, depends_on={"cache": None})
    row = found(made, "depends_on.cache", "not carried over")
    assert "/run/secrets/CACHE_URL" in row.instead


def test_the_words_of_the_compose_file_are_what_the_shell_starts(tmp_path: Path) -> None:
    both, _ = adopted(tmp_path / "a", {"PGPASSWORD": SECRET}, entrypoint=["printenv"], command=["HOME"])
    assert both.settings["command"] == ["printenv", "HOME"]
    own = DOCKERFILE + 'ENTRYPOINT ["python3", "-c"]\nCMD print(1)\n'
    one, _ = adopted(tmp_path / "b", {"PGPASSWORD": SECRET}, own, command=["print(2)"])
    assert one.settings["command"] == ["python3", "-c", "print(2)"]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"command": ["serve", f"--db={SECRET}"]}, "command"),
        ({"entrypoint": ["serve", "--password", SECRET]}, "entrypoint"),
        ({"healthcheck": {"test": ["CMD", "ask", SECRET]}}, "healthcheck"),
    ],
)
def test_a_password_in_a_command_goes_with_the_command(tmp_path: Path, more: dict[str, Any], key: str) -> None:
    draft, made = adopted(tmp_path, {"A": "1"}, **more)
    assert key not in draft.settings
    assert "password" in found(made, key, "not carried over").why


def test_a_word_that_names_something_is_no_password_in_a_command(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", app__Dockerfile=DOCKERFILE)
    app = {"build": {"context": str(folder / "app")}, "command": ["wait-for", "postgres:5432", "shop"]}
    database = {"image": "nginx", "environment": {"POSTGRES_PASSWORD": "postgres", "POSTGRES_USER": "shop"}}
    made = plan(folder, "services: {app: {}, db: {}}\n", {"app": app, "db": database})
    assert made.drafts[0].settings["command"] == ["wait-for", "postgres:5432", "shop"]


def test_a_connection_string_is_a_secret_of_its_own(tmp_path: Path) -> None:
    text = f"postgres://db/wares?password={SECRET}"
    draft, made = adopted(tmp_path, {"DSN": text, "JDBC": f"jdbc:postgresql://db/wares?password={SECRET}"})
    assert draft.settings["secrets"] == ["DSN", "JDBC"] and len(made.commands) == 2
    assert started(tmp_path, draft, "DSN") == ["the team's own $(x) '"]


def test_a_secret_is_no_build_argument(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", app__Dockerfile=DOCKERFILE)
    build = {"context": str(folder / "app"), "args": {"NPM_TOKEN": SECRET, "LEVEL": "1"}}
    made = plan(folder, "services: {app: {}}\n", {"app": {"build": build}})
    assert made.drafts[0].settings["args"] == {"NPM_TOKEN": "", "LEVEL": "1"}
    assert "--mount=type=secret" in found(made, "build.args.NPM_TOKEN").instead


def test_compose_files_and_their_values_are_not_copied_with_the_sources(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop",
        Dockerfile=DOCKERFILE,
        _dot_env=f"PASSWORD={SECRET}",
        values_dot_env=f"PASSWORD={SECRET}",
        more_dot_env=f"PASSWORD={SECRET}",
        main_dot_py="",
    )
    text = "services:\n  app:\n    env_file: [values.env, {path: more.env}]\n"
    services = {"app": {"build": {"context": str(folder)}, "environment": {"PASSWORD": SECRET}}}
    compose = read(folder, text, {"name": "shop", "services": services})
    workspace = make_workspace(tmp_path / "workspace")
    made = plan_compose(workspace, compose, pins(), route=None, skip=frozenset())
    with staged(workspace, made) as written:
        names = {path.name for path in (written / "app").iterdir()}
        assert not any(SECRET in path.read_text() for path in (written / "app").iterdir() if path.is_file())
    assert {"Dockerfile", "main.py", "service.toml"} <= names
    assert not names & {".env", "values.env", "more.env", "compose.yaml"}


@pytest.mark.parametrize(
    ("name", "text", "secret"),
    [
        ("TOKEN_TTL", "3600", False),
        ("TOKEN_SECONDS", "30s", False),
        ("USE_API_KEY", "true", False),
        ("PASSWORD", "1234", True),
        ("MYSQL_PASS", "yes", True),
        ("API_KEY", "abc", True),
        ("KEY_FILE", "abc", False),
        ("KEY", "/a/path", False),
        ("ANY", "x://u:p@h", True),
        ("ANY", "x://h/p", False),
        ("ANY", "jdbc:postgresql://db/x?user=u&password=p", True),
        ("ANY", "Host=db;Username=u;Password=p", True),
        ("ANY", "host=db passwd_file=/x", False),
    ],
)
def test_switches_numbers_and_paths_are_no_secrets(name: str, text: str, secret: bool) -> None:
    assert is_secret(name, text) is secret
