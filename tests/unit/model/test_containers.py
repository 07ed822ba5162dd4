"""A service that runs an image, keeps data or has a release command is checked when its file is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model import environment, workspace
from slipway._internal.model.containers import BackupSettings, HealthcheckSettings, VolumeSettings
from slipway._internal.model.errors import ConfigError

DIGEST = "sha256:" + "a" * 64
IMAGE = f'image = "docker.io/library/postgres@{DIGEST}"\n'
DATABASE = f"""\
kind = "postgres"
{IMAGE}port = 5432
command = ["postgres", "-c", "fsync=on"]
generated = ["PASSWORD"]
url = "postgres://app:{{PASSWORD}}@{{host}}:{{port}}/app"
[healthcheck]
command = ["pg_isready"]
start-period = 10
[security]
read-only = false
capabilities = ["CHOWN"]
user = "70:70"
[[volumes]]
name = "data"
path = "/var/lib/postgresql"
size = "10g"
[backup]
dump = ["pg_dump"]
restore = ["psql"]
"""
VOLUME = '[[volumes]]\nname = "data"\npath = "/data"\n'


def load(root: Path, text: str, *, dockerfile: bool = False) -> workspace.Service:
    (root / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    folder = root / "services" / "db"
    folder.mkdir(parents=True)
    (folder / "service.toml").write_text(text)
    if dockerfile:
        (folder / "Dockerfile").write_text("FROM scratch\n")
    return workspace.load_workspace(root).service("db")


def test_a_database_is_read_whole(tmp_path: Path) -> None:
    service = load(tmp_path, DATABASE)
    settings = service.settings
    assert service.is_stateful
    assert settings.healthcheck == HealthcheckSettings(("pg_isready",), start_period=10)
    assert (settings.security.read_only, settings.security.user) == (False, "70:70")
    assert settings.volumes == (VolumeSettings("data", "/var/lib/postgresql", "10g"),)
    assert settings.backup == BackupSettings(("pg_dump",), ("psql",))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('kind = "x"\nimage = "postgres:17"\n', 2, "not pinned"),
        ('kind = "x"\nimage = "p@sha256:12"\n', 2, "not pinned"),
        ('kind = "x"\nimage = "-rm@' + DIGEST + '"\n', 2, "not pinned"),
        (f'kind = "x"\n{IMAGE}libs = ["common"]\n', 3, "there is no lib"),
        (f'kind = "x"\n{IMAGE}target = "prod"\n', 3, "`target` is for building"),
        (f'kind = "x"\n{IMAGE}[args]\nA = "1"\n', 3, "`args` is for building"),
        (f'kind = "x"\n{IMAGE}[dev]\nsync = ["app"]\n', 4, "`sync` is for building"),
        (f'kind = "x"\n{IMAGE}command = [""]\n', 3, "`command` names no program"),
        (f'kind = "x"\n{IMAGE}[healthcheck]\ncommand = []\n', 4, "`command` names no program"),
        (f'kind = "x"\n{IMAGE}[healthcheck]\ninterval = 5\n', 3, "command"),
        (f'kind = "x"\n{IMAGE}[healthcheck]\ncommand = ["a"]\nretries = 0\n', 5, "retries"),
        (f'kind = "x"\n{IMAGE}[[volumes]]\nname = "Da"\npath = "/a"\n', 4, "the volume's `name`"),
        (f'kind = "x"\n{IMAGE}[[volumes]]\nname = "d"\npath = "a"\n', 5, "the `path` 'a'"),
        (f'kind = "x"\n{IMAGE}[[volumes]]\nname = "d"\npath = "/"\n', 5, "the `path` '/'"),
        (f'kind = "x"\n{IMAGE}[[volumes]]\nname = "d"\npath = "/a/../b"\n', 5, "the `path`"),
        (f'kind = "x"\n{IMAGE}[[volumes]]\nname = "d"\npath = "/a,ro"\n', 5, "the `path`"),
        (f'kind = "x"\n{IMAGE}[[volumes]]\nname = "d"\npath = "/run/secrets/x"\n', 5, "the `path`"),
        (f'kind = "x"\n{IMAGE}[[volumes]]\nname = "d"\npath = "/a"\nsize = "10"\n', 6, "the `size`"),
        (f'kind = "x"\n{IMAGE}{VOLUME}{VOLUME}', 7, "two volumes have the name"),
        (f'kind = "x"\n{IMAGE}{VOLUME}[[volumes]]\nname = "b"\npath = "/data/b"\n', 8, "the same place"),
        (f'kind = "x"\n{IMAGE}release = ["a"]\n{VOLUME}', 3, "volumes and a `release` command"),
        (f'kind = "x"\n{IMAGE}{VOLUME}[scale]\nmax = 2\n', 6, "volumes and [scale]"),
        (f'kind = "x"\n{IMAGE}{VOLUME}[job]\nschedule = "@daily"\n', 6, "volumes and [job]"),
        (f'kind = "x"\n{IMAGE}[security]\ncapabilities = ["SYS_ADMIN"]\n', 4, "'SYS_ADMIN'"),
        (f'kind = "x"\n{IMAGE}[security]\nuser = "a b"\n', 4, "`user` is"),
        (f'kind = "x"\n{IMAGE}[backup]\ndump = ["a"]\n', 3, "has no `restore`"),
        (f'kind = "x"\n{IMAGE}[backup]\nrestore = ["a"]\n', 3, "has no `dump`"),
        (f'kind = "x"\n{IMAGE}[backup]\ncheck = ["a"]\n', 4, "no `dump` to check"),
        (f'kind = "x"\n{IMAGE}[backup]\ndump = ["a"]\nrestore = ["b"]\n', 3, "needs data"),
        (f'kind = "x"\n{IMAGE}url = "x://{{host}}"\n', 3, "needs a `port`"),
        (f'kind = "x"\n{IMAGE}port = 1\nurl = "x://{{host}}:{{oops}}"\n', 4, "'oops'"),
        (f'kind = "x"\n{IMAGE}port = 1\nurl = "x://{{host"\n', 4, "cannot be read"),
        (f'kind = "x"\n{IMAGE}port = 1\nurl = "x://{{port}}"\n', 4, "no {host}"),
        (f'kind = "x"\n{IMAGE}port = 1\nurl = "{{host}}:{{port}}"\n', 4, "no scheme"),
        (f'kind = "x"\n{IMAGE}secrets = ["A"]\ngenerated = ["A"]\n', 4, "in `secrets`, too"),
        (f'kind = "x"\n{IMAGE}generated = ["a-b"]\n', 3, "not a variable name"),
        (f'kind = "x"\n{IMAGE}release = ["a"]\n[job]\nschedule = "@daily"\n', 3, "no `release` command"),
        (f'kind = "x"\n{IMAGE}volumes = ["data"]\n', 3, "volumes"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert f"services/db/service.toml:{line}: " in caught.value.message
    assert said in caught.value.message
    assert caught.value.remedy


def test_an_image_and_a_dockerfile_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"service\.toml:2: the service has an `image`, and Dockerfile beside it"):
        load(tmp_path, f'kind = "x"\n{IMAGE}', dockerfile=True)


def test_a_service_without_either_is_told_of_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Dockerfile is missing") as caught:
        load(tmp_path, 'kind = "x"\n')
    assert "image = " in caught.value.remedy


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://app:{PASSWORD}@{host}:{port}/app", "postgres://app@db:5432/app"),
        ("redis://:{PASSWORD}@{host}:{port}/0", "redis://db:5432/0"),
        ("http://{host}:{port}/?key={PASSWORD}", "http://db:5432/?key="),
    ],
)
def test_the_address_in_the_environment_has_no_password(tmp_path: Path, url: str, shown: str) -> None:
    service = load(tmp_path, f'kind = "x"\n{IMAGE}port = 5432\ngenerated = ["PASSWORD"]\nurl = "{url}"\n')
    assert environment.service_url(service, "docker") == environment.service_url(service, "kubernetes") == shown


def test_a_service_without_a_route_is_called_by_its_name(tmp_path: Path) -> None:
    service = load(tmp_path, f'kind = "x"\n{IMAGE}port = 9000\n')
    assert environment.service_url(service, "docker") == "http://db:9000"
