"""Each key of a Compose file's services is carried over, or told with file, line, reason and what to do instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.adopt.made_up import DIGEST, DOCKERFILE, compose_program, found, make_workspace, pins, plan, read, write

from slipway._internal.adopt import adopt, compose_keys
from slipway._internal.adopt.adopt import Request, plan_adoption
from slipway._internal.adopt.compose import plan_compose
from slipway._internal.adopt.plan import Draft
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import load_workspace

SERVICE_KEYS = [
    "develop",
    "deploy",
    "annotations",
    "attach",
    "build",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_shares",
    "cpu_quota",
    "cpu_period",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "label_file",
    "environment",
    "expose",
    "extends",
    "provider",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "network_mode",
    "models",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "pre_start",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "security_opt",
    "shm_size",
    "secrets",
    "sysctls",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "uts",
    "userns_mode",
    "volumes",
    "volumes_from",
    "working_dir",
]
"""The keys of a service in the schema of the Compose Specification, as of compose-go 2.15."""
BUILD_KEYS = [
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "args",
    "ssh",
    "labels",
    "cache_from",
    "cache_to",
    "no_cache",
    "no_cache_filter",
    "additional_contexts",
    "network",
    "provenance",
    "sbom",
    "pull",
    "target",
    "shm_size",
    "extra_hosts",
    "isolation",
    "privileged",
    "secrets",
    "tags",
    "ulimits",
    "platforms",
]
DEPLOY_KEYS = [
    "mode",
    "endpoint_mode",
    "replicas",
    "labels",
    "rollback_config",
    "update_config",
    "resources",
    "restart_policy",
    "placement",
]
TOP_KEYS = ["version", "name", "include", "services", "models", "networks", "volumes", "secrets", "configs"]


def one(folder: Path, settings: dict[str, Any], *images: str, text: str = "", **tables: Any) -> Draft:
    """Return the draft of a service `web`, whose keys stand in the file a line each, from line 3 on."""
    lines = text or "services:\n  web:\n" + "".join(f"    {key}: {{}}\n" for key in settings)
    return plan(folder, lines, {"web": settings}, *images, **tables).drafts[0]


def of(draft: Draft, key: str) -> list[tuple[str, str]]:
    """Return the fate and the place of what is told of a key."""
    return [(row.fate, row.where.rpartition(":")[2]) for row in draft.rows if row.key == key]


def test_every_key_of_the_specification_has_its_treatment() -> None:
    assert {*SERVICE_KEYS} == compose_keys.CARRIED | {*compose_keys.SERVICE_KEYS}
    assert {*BUILD_KEYS} == compose_keys.BUILD_CARRIED | {*compose_keys.BUILD_KEYS}
    assert {*DEPLOY_KEYS} == {"replicas", "resources"} | {*compose_keys.DEPLOY_KEYS}
    assert {*TOP_KEYS} == {*compose_keys.TOP_KEYS}
    assert not compose_keys.CARRIED & {*compose_keys.SERVICE_KEYS}


VALUES: dict[str, Any] = {
    "build": {"context": "CONTEXT"},
    "cap_add": ["CHOWN"],
    "cap_drop": ["ALL"],
    "cgroup": "private",
    "command": ["run"],
    "configs": [{"source": "conf", "target": "/etc/conf"}],
    "cpus": 0.5,
    "depends_on": {"other": {"condition": "service_started"}},
    "deploy": {"replicas": 2},
    "entrypoint": ["/run"],
    "environment": {"A": "1"},
    "expose": ["8000"],
    "gpus": "all",
    "healthcheck": {"test": ["CMD", "true"], "interval": "1m30s", "retries": 5, "start_period": "0s"},
    "ipc": "private",
    "mem_limit": "536870912",
    "network_mode": "bridge",
    "networks": {"default": None},
    "pid": "private",
    "platform": "linux/amd64",
    "ports": [{"target": 8000, "published": "80", "protocol": "tcp"}],
    "privileged": False,
    "read_only": True,
    "runtime": "runc",
    "scale": 2,
    "secrets": [{"source": "token", "target": "/run/secrets/token"}],
    "stop_grace_period": "45s",
    "stop_signal": "SIGINT",
    "tmpfs": ["/tmp"],
    "user": "1000:1000",
    "userns_mode": "private",
    "uts": "private",
    "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
    "working_dir": "/app",
}
"""A value of each key that is looked at, in the form that Docker Compose gives it."""
SILENT = {"image": "FROM or image says it", "runtime": "runc is what there is"}


@pytest.mark.parametrize("key", SERVICE_KEYS)
def test_no_key_of_a_service_is_dropped_in_silence(tmp_path: Path, key: str) -> None:
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE, conf="x", token="x")
    value = VALUES.get(key, "x")
    settings = {
        key: {"context": str(folder)} if key == "build" else value,
        **({} if key == "build" else {"image": "nginx"}),
    }
    tables = {
        "configs": {"conf": {"file": str(folder / "conf")}},
        "secrets": {"token": {"file": str(folder / "token")}},
    }
    made = plan(
        folder,
        "services:\n  web:\n    image: nginx\n" + f"    {key}: x\n" * (key != "image"),
        {"web": settings},
        **tables,
    )
    told = {row.key.partition(".")[0] for row in made.all_rows()}
    equal = {"deploy": {"deploy"}, "scale": {"scale"}}.get(key, {key})
    assert told & equal or key in SILENT, told
    (row, *_) = [row for row in made.all_rows() if row.key.partition(".")[0] == key] or [None]
    assert (
        row is None or row.where == f"{folder}/compose.yaml:{3 if key in ('image', 'build') and key == 'image' else 4}"
    )


def test_a_key_that_nobody_knows_is_told_as_such(tmp_path: Path) -> None:
    draft = one(tmp_path / "shop", {"image": "nginx", "newest": 1, "x-own": 2})
    assert of(draft, "newest") == [("not carried over", "4")] and of(draft, "x-own") == [("not carried over", "5")]


def test_keys_of_build_and_deploy_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", Dockerfile=DOCKERFILE)
    others = {key: ["x"] for key in compose_keys.BUILD_KEYS}
    deploy = {
        "replicas": 1,
        "labels": {"a": "b"},
        "mode": "global",
        "resources": {
            "limits": {"cpus": "0.25", "memory": "1610612736", "pids": 5},
            "reservations": {"memory": "1", "devices": [{"capabilities": ["gpu"], "count": 2}]},
        },
    }
    draft = one(folder, {"build": {"context": str(folder), **others}, "deploy": deploy})
    assert {f"build.{key}" for key in compose_keys.BUILD_KEYS} <= {row.key for row in draft.rows}
    assert draft.settings["resources"] == {"memory": "1536m", "cpus": 0.25, "gpu": 2}
    assert {"deploy.labels", "deploy.mode", "deploy.resources.limits.pids", "deploy.resources.reservations.memory"} <= {
        row.key for row in draft.rows
    }


def test_a_build_is_a_service_with_its_dockerfile_target_and_arguments(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop",
        web__docker__prod_dot_Dockerfile_dot_dockerignore="x\n",
        web__docker__prod_dot_Dockerfile="ARG V=3.12\nFROM python:${V} AS base\nFROM base AS dev\nFROM base AS prod\n",
        web__app_dot_py="",
    )
    build = {
        "context": str(folder / "web"),
        "dockerfile": "docker/prod.Dockerfile",
        "target": "dev",
        "args": {"V": "3.12", "N": None},
    }
    draft = one(folder, {"build": build, "expose": ["9000"], "image": "shop/web"})
    assert draft.settings["target"] == "dev" and draft.settings["port"] == 9000
    assert draft.settings["args"] == {"V": "3.12"}
    assert draft.files == {"Dockerfile.dockerignore": folder / "web" / "docker" / "prod.Dockerfile.dockerignore"}
    assert draft.dockerfile is not None and draft.dockerfile.startswith(
        "ARG V=3.12\nFROM docker.io/library/python:3.12@"
    )
    assert "route" not in draft.settings


def test_an_image_is_pinned_and_known_ones_have_their_port_and_address(tmp_path: Path) -> None:
    draft = one(tmp_path / "shop", {"image": "postgres:17", "user": "postgres"}, "postgres:17")
    assert draft.settings["image"] == f"docker.io/library/postgres:17@{DIGEST}"
    assert (draft.settings["port"], draft.settings["url"]) == (5432, "postgres://{host}:{port}")
    assert draft.settings["security"] == {"read-only": False, "user": "postgres"}


def test_an_image_without_a_digest_is_left_out_and_others_run_without_it(tmp_path: Path) -> None:
    services = {"web": {"image": "nginx", "depends_on": {"db": {}}}, "db": {"image": "acme/db:1"}}
    made = plan(tmp_path / "shop", "services:\n  web:\n    image: nginx\n  db:\n    image: acme/db:1\n", services)
    assert [draft.name for draft in made.drafts] == ["web"]
    assert "needs" not in made.drafts[0].settings
    row = found(made, "image", "not carried over")
    assert row.where.endswith(":5") and "--pin" in row.instead and "acme/db:1@sha256" in row.instead
    assert "runs without it" in found(made, "depends_on.db").why


def test_the_kind_of_a_backing_image_stands_in_where_the_registry_does_not_answer(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    write(
        workspace.root / "kinds" / "postgres",
        Dockerfile="ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\n",
        service_dot_toml='kind = "postgres"\nport = 5432\n',
    )
    services = {
        "web": {"image": "nginx", "depends_on": {"db": {"condition": "service_healthy"}}},
        "db": {"image": "postgres:17", "environment": {"POSTGRES_PASSWORD": "x"}},
    }
    made = plan(tmp_path / "shop", "services:\n  web: {}\n  db: {}\n", services)
    assert [(draft.name, draft.kind) for draft in made.drafts] == [("web", ""), ("db", "postgres")]
    assert made.drafts[0].settings["needs"] == ["db"] and made.drafts[1].settings == {"port": 5432}
    assert [row.fate for row in made.drafts[1].rows if row.key == "environment"] == ["kept otherwise"]


@pytest.mark.parametrize(
    ("settings", "key", "why"),
    [
        ({"privileged": True}, "privileged", "root on its host"),
        ({"network_mode": "host"}, "network_mode", "its host's namespace"),
        ({"network_mode": "service:db"}, "network_mode", "another container's"),
        ({"pid": "host"}, "pid", "its host's"),
        ({"ipc": "host"}, "ipc", "its host's"),
        ({"cap_add": ["NET_ADMIN"]}, "cap_add", "NET_ADMIN"),
        ({"cap_add": ["CAP_SYS_ADMIN"]}, "cap_add", "SYS_ADMIN"),
        ({"devices": [{"source": "/dev/kvm"}]}, "devices", "no devices"),
        ({"runtime": "io.wasm"}, "runtime", "io.wasm"),
        ({"platform": "wasi/wasm"}, "platform", "for Linux"),
        (
            {"volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/s"}]},
            "volumes",
            "engine's socket",
        ),
        ({"volumes": [{"type": "bind", "source": "/lib/modules", "target": "/m"}]}, "volumes", "is the host's"),
        ({"use_api_socket": True}, "use_api_socket", "root on its host"),
        ({"volumes_from": ["db"]}, "volumes_from", "another's volumes"),
        ({"image": ""}, "image", "neither"),
        ({"image": "Not An Image"}, "image", "names no image"),
    ],
)
def test_what_reaches_beyond_the_container_is_refused_with_its_line(
    tmp_path: Path, settings: dict[str, Any], key: str, why: str
) -> None:
    draft = one(tmp_path / "shop", {"image": "nginx", **settings}, text=f"services:\n  web:\n    {key}: x\n")
    assert draft.is_refused
    (row,) = [row for row in draft.rows if row.fate == "refused"]
    assert row.key == key and why in row.why and row.where.endswith("compose.yaml:3") and row.instead


def test_a_build_that_is_not_the_projects_is_refused(tmp_path: Path) -> None:
    outside = write(tmp_path / "other", Dockerfile=DOCKERFILE)
    folder = write(tmp_path / "shop", web__Dockerfile=DOCKERFILE)
    (folder / "link").symlink_to(outside)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"context": str(outside)}, "outside of the project"),
        ({"context": str(folder / "link")}, "outside of the project"),
        ({"context": str(folder / "gone")}, "is not there"),
        ({"context": "https://github.com/x/y.git"}, "no folder of the project"),
        ({"context": str(folder / "web"), "dockerfile": "../../other/Dockerfile"}, "outside"),
        ({"context": str(folder / "web"), "dockerfile": "Gone"}, "missing"),
        ({"context": str(folder / "web"), "target": "nope"}, "no stage nope"),
        ({"context": str(folder / "web"), "dockerfile_inline": "FROM x"}, "a Dockerfile in a Compose file"),
    ]
    for build, why in cases:
        draft = one(folder, {"build": build})
        assert any(row.fate == "refused" and why in row.why for row in draft.rows), (build, draft.rows)


def test_published_ports_decide_the_routes(tmp_path: Path) -> None:
    def port(target: int, published: str, protocol: str = "tcp") -> dict[str, Any]:
        return {"target": target, "published": published, "protocol": protocol}

    services = {
        "api": {"image": "nginx", "ports": [port(3000, "3000"), port(9229, "9229"), port(53, "53", "udp")]},
        "web": {"image": "nginx", "ports": [port(443, "443"), port(8080, "80")]},
        "db": {"image": "postgres", "ports": [port(5432, "5432")], "expose": ["5433"]},
        "tls": {"image": "nginx", "ports": [port(8443, "")]},
    }
    text = "services:\n  api: {}\n  web: {}\n  db: {}\n  tls: {}\n"
    made = plan(tmp_path / "shop", text, services, "postgres")
    settings = {draft.name: (draft.settings.get("port"), draft.route) for draft in made.drafts}
    assert settings == {"api": (3000, "/api"), "web": (8080, "/"), "db": (5432, None), "tls": (8443, None)}
    assert next(draft for draft in made.drafts if draft.name == "api").settings["routes"] == [
        {"path": "/api", "strip": True}
    ]
    assert "gets the path without it" in found(made, "routes").why
    whys = [row.why for row in made.all_rows() if row.key == "ports" and row.fate == "not carried over"]
    assert [why.partition(": ")[0] for why in whys] == [
        "9229:9229/tcp",
        "53:53/udp",
        "443:443/tcp",
        "5432:5432/tcp",
        "any:8443/tcp",
    ]
    assert [row.why for row in made.all_rows() if row.key == "expose"] == [
        "5433: on Docker all ports are reached; on Kubernetes 5432 alone"
    ]


def test_two_services_on_one_published_port_are_refused(tmp_path: Path) -> None:
    port = [{"target": 80, "published": "8080", "protocol": "tcp"}]
    text = "services:\n  a:\n    ports:\n      - 8080:80\n  b:\n    ports:\n      - 8080:80\n"
    made = plan(tmp_path / "shop", text, {name: {"image": "nginx", "ports": port} for name in "ab"})
    (row,) = made.refusals()
    assert row.where.endswith(":7") and "published by a" in row.why


def test_names_are_made_labels_also_where_others_call_them(tmp_path: Path) -> None:
    services = {
        "backend_api": {"image": "nginx", "expose": ["80"]},
        "web": {
            "image": "nginx",
            "depends_on": {"backend_api": {}},
            "environment": {
                "URL": "http://u@backend_api:80/backend_api_x",
                "HOST": "backend_api",
                "N": "my-backend_api",
            },
            "command": ["run", "--to=backend_api:80"],
        },
    }
    made = plan(tmp_path / "shop", "services:\n  backend_api: {}\n  web: {}\n", services)
    api, web = made.drafts
    assert api.name == "backend-api" and web.settings["needs"] == ["backend-api"]
    assert web.settings["env"] == {
        "URL": "http://u@backend-api:80/backend_api_x",
        "HOST": "backend-api",
        "N": "my-backend_api",
    }
    assert web.settings["command"] == ["run", "--to=backend-api:80"]
    assert any("backend_api is backend-api" in row.why for row in api.rows)


def test_names_that_collide_or_are_none_are_refused(tmp_path: Path) -> None:
    services = {name: {"image": "nginx"} for name in ("a_b", "a-b", "123")}
    made = plan(tmp_path / "shop", "services: {a_b: {}, a-b: {}, '123': {}}\n", services)
    assert sorted(row.why for row in made.refusals()) == [
        "'123' cannot name a service",
        "a-b and a_b would both be a-b",
    ]


def test_environment_is_env_without_what_looks_secret(tmp_path: Path) -> None:
    environment = {
        "A": 1,
        "B": True,
        "DB_PASSWORD": "hunter2",
        "EMPTY_TOKEN": "",
        "DB_PASS": "/run/secrets/pass",
        "DB": "postgres://u:p@db/x",
        "FROM_SHELL": None,
        "discovery.type": 'a "$b"',
        "KEY_FILE": "/run/secrets/key",
        "x.password": "hunter3",
    }
    draft = one(tmp_path / "shop", {"image": "nginx", "environment": environment})
    assert draft.settings["env"] == {
        **{"A": "1", "B": "true", "EMPTY_TOKEN": "", "DB_PASS": "/run/secrets/pass", "KEY_FILE": "/run/secrets/key"},
        **{"DB_PASSWORD_FILE": "/run/secrets/DB_PASSWORD", "DB_FILE": "/run/secrets/DB"},
    }
    told = {row.key.partition(".")[2]: row.fate for row in draft.rows if row.key.startswith("environment.")}
    assert told == {
        **{"DB_PASSWORD": "not carried over", "DB": "not carried over", "FROM_SHELL": "to do"},
        **{"discovery.type": "carried over", "x.password": "not carried over"},
    }
    assert draft.settings["secrets"] == ["DB_PASSWORD", "DB"]
    assert not any("hunter2" in f"{row.why}{row.instead}" for row in draft.rows)
    assert draft.dockerfile is not None and 'ENV discovery.type="a \\"\\$b\\""' in draft.dockerfile
    assert "image" not in draft.settings


def test_secrets_are_files_whose_new_names_are_written_where_they_are_read(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop",
        Dockerfile=DOCKERFILE,
        db__password_dot_txt="x",
        main_dot_py="open('/run/secrets/db-password')\n",
    )
    settings = {
        "build": {"context": str(folder)},
        "secrets": [{"source": "db-password", "target": "/run/secrets/db-password"}, {"source": "other"}],
        "environment": {"PASSWORD_FILE": "/run/secrets/db-password", "X": "/run/secrets/db-password-2"},
        "healthcheck": {"test": ["CMD-SHELL", "check $(cat /run/secrets/db-password)"]},
    }
    secrets = {"db-password": {"file": str(folder / "db" / "password.txt")}, "other": {"external": True}}
    made = plan(folder, "services:\n  web: {}\n", {"web": settings}, secrets=secrets)
    (draft,) = made.drafts
    assert draft.settings["secrets"] == ["db_password", "other"]
    assert draft.settings["env"] == {"PASSWORD_FILE": "/run/secrets/db_password", "X": "/run/secrets/db-password-2"}
    assert draft.settings["healthcheck"]["command"] == ["/bin/sh", "-c", "check $(cat /run/secrets/db_password)"]
    assert made.commands[0].endswith(f"web:db_password < {folder}/db/password.txt")
    assert made.commands[1].endswith("web:other")
    assert {path.name for path in draft.without} == {"password.txt", "compose.yaml", ".env"}
    assert any(row.where.endswith("main.py:1") and row.fate == "to do" for row in draft.rows)


def test_mounts_become_volumes_files_of_the_image_or_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop", nginx_dot_conf="x", site__index_dot_html="x", more__nginx_dot_conf="y")
    (folder / "empty").mkdir()

    def bind(source: str, target: str, **more: Any) -> dict[str, Any]:
        return {
            "type": "bind",
            "source": source if source.startswith("/") else str(folder / source),
            "target": target,
            **more,
        }

    mounts = [
        {"type": "volume", "source": "db_data", "target": "/var/lib/db"},
        {"type": "volume", "source": "db_data", "target": "/var/lib/db/inner"},
        {"type": "volume", "source": "t", "target": "/tmp/x"},
        {"type": "volume", "target": "/cache"},
        bind("nginx.conf", "/etc/nginx/nginx.conf"),
        bind("more/nginx.conf", "/etc/nginx/more.conf"),
        bind("site", "/srv/site/", read_only=True),
        bind("empty", "/srv/data"),
        bind("gone", "/srv/gone"),
        bind("/home/me/files", "/files"),
        bind("/etc/localtime", "/etc/localtime"),
        {"type": "tmpfs", "target": "/run/x"},
        {"type": "npipe", "source": "x", "target": "/y"},
    ]
    volumes = {"db_data": {"driver_opts": {"type": "nfs"}}}
    draft = one(folder, {"image": "nginx", "volumes": mounts}, volumes=volumes)
    assert draft.settings["volumes"] == [
        {"name": "db-data", "path": "/var/lib/db"},
        {"name": "empty", "path": "/srv/data"},
        {"name": "gone", "path": "/srv/gone"},
        {"name": "files", "path": "/files"},
    ]
    assert draft.dockerfile == (
        f"FROM docker.io/library/nginx:latest@{DIGEST} AS run\n"
        "# Added by `invoke adopt`: what the Compose file has beside the image.\n"
        'COPY --chmod=u=rwX,go=rX ["adopted/nginx.conf", "/etc/nginx/nginx.conf"]\n'
        'COPY --chmod=u=rwX,go=rX ["adopted/2-nginx.conf", "/etc/nginx/more.conf"]\n'
        'COPY --chmod=u=rwX,go=rX ["adopted/site/", "/srv/site/"]\n'
    )
    assert {row.fate for row in draft.rows if row.key == "volumes.db_data"} == {"to do"}


def test_sources_that_are_mounted_into_what_is_built_from_them_are_dropped_with_the_reason(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop",
        web__Dockerfile="FROM python:3.12 AS dev\nFROM dev AS prod\nRUN <<END\nFROM dev\nEND\n",
        web__conf="x",
        web__src__a="1",
    )
    mounts = [
        {"type": "bind", "source": str(folder / "web" / "src"), "target": "/src"},
        {"type": "bind", "source": str(folder / "web" / "conf"), "target": "/etc/conf"},
    ]
    build = {"context": str(folder / "web"), "target": "dev"}
    draft = one(folder, {"build": build, "volumes": mounts, "stop_signal": "SIGINT", "working_dir": "/x"})
    assert any("[dev] sync" in row.instead for row in draft.rows if row.key == "volumes")
    assert draft.settings["target"] == "adopted" and draft.dockerfile is not None
    assert draft.dockerfile.endswith(
        "\nFROM dev AS adopted\n# Added by `invoke adopt`: what the Compose file has beside the image.\n"
        'COPY --chmod=u=rwX,go=rX ["adopted/conf", "/etc/conf"]\nSTOPSIGNAL SIGINT\nWORKDIR /x\n'
    )


def test_a_config_without_a_file_is_told(tmp_path: Path) -> None:
    draft = one(tmp_path / "shop", {"image": "nginx", "configs": [{"source": "x"}]}, configs={"x": {"content": "y"}})
    assert of(draft, "configs") == [("not carried over", "4")]


def test_a_volume_that_two_services_share_is_told(tmp_path: Path) -> None:
    mount = [{"type": "volume", "source": "files", "target": "/files"}]
    made = plan(
        tmp_path / "shop", "services: {a: {}, b: {}}\n", {n: {"image": "nginx", "volumes": mount} for n in "ab"}
    )
    assert "a and b share files" in found(made, "volumes", "to do").why


@pytest.mark.parametrize(
    ("check", "settings", "fate"),
    [
        ({"test": ["NONE"]}, None, "to do"),
        ({"disable": True}, None, "to do"),
        ({"interval": "5s"}, None, "to do"),
        ({"test": "curl x"}, {"command": ["/bin/sh", "-c", "curl x"]}, "carried over"),
        (
            {"test": ["CMD", "a", "b"], "interval": "1.5s", "timeout": "2h", "retries": 1000, "start_interval": "1s"},
            {"command": ["a", "b"], "interval": 2, "timeout": 3600, "retries": 100},
            "carried over",
        ),
        ({"test": ["CMD", "a"], "interval": "soon"}, {"command": ["a"], "interval": 1}, "carried over"),
    ],
)
def test_health_checks(tmp_path: Path, check: dict[str, Any], settings: dict[str, Any] | None, fate: str) -> None:
    draft = one(tmp_path / "shop", {"image": "nginx", "healthcheck": check})
    assert draft.settings.get("healthcheck") == settings
    assert of(draft, "healthcheck")[0][0] == fate


def test_restrictions_are_those_of_the_file_where_it_has_any(tmp_path: Path) -> None:
    draft = one(
        tmp_path / "a", {"image": "nginx", "cap_drop": ["ALL"], "cap_add": ["chown", "CAP_SETUID"], "read_only": True}
    )
    assert draft.settings["security"] == {"capabilities": ["CHOWN", "SETUID"]}
    draft = one(tmp_path / "b", {"image": "nginx", "cap_drop": ["ALL"]})
    assert draft.settings["security"] == {"read-only": False}
    draft = one(tmp_path / "c", {"image": "nginx", "user": "${UID}"})
    assert of(draft, "user") == [("to do", "4")]


def test_scales(tmp_path: Path) -> None:
    volumes = [{"type": "volume", "source": "v", "target": "/v"}]
    assert one(tmp_path / "a", {"image": "nginx", "deploy": {"replicas": 3}}).settings["scale"] == {"min": 3, "max": 3}
    assert "scale" not in one(tmp_path / "b", {"image": "nginx", "scale": 3, "volumes": volumes}).settings
    assert of(one(tmp_path / "c", {"image": "nginx", "scale": 0}), "scale") == [("to do", "4")]


def test_a_service_that_ends_and_one_without_a_port_are_told_to_those_that_wait_for_them(tmp_path: Path) -> None:
    services = {
        "web": {"image": "nginx", "depends_on": {"migrate": {"condition": "service_completed_successfully"}}},
        "migrate": {"image": "acme/x", "entrypoint": []},
    }
    made = plan(tmp_path / "shop", "services: {web: {}, migrate: {entrypoint: []}}\n", services, "acme/x")
    assert [(row.fate, "release" in row.instead) for row in made.all_rows() if row.key == "depends_on.migrate"] == [
        ("kept otherwise", False),
        ("to do", True),
    ]
    assert found(made, "entrypoint").fate == "to do"


def test_what_single_entries_say_beyond_is_told(tmp_path: Path) -> None:
    settings = {
        "image": "nginx",
        "secrets": [{"source": "x", "uid": "103", "mode": "0440"}],
        "ports": [{"target": 80, "host_ip": "127.0.0.1", "mode": "ingress", "protocol": "tcp"}],
        "volumes": [
            {"type": "volume", "source": "v", "target": "/v", "read_only": True, "volume": {"subpath": "s"}},
            {
                "type": "bind",
                "source": "/home/x",
                "target": "/x",
                "bind": {"create_host_path": True, "propagation": "shared"},
                "read_only": True,
            },
        ],
        "depends_on": {"db": {"condition": "service_started", "restart": True, "required": False}},
    }
    told = {
        row.key for row in one(tmp_path / "shop", settings).rows if row.fate == "not carried over" and "." in row.key
    }
    assert told == {
        *("secrets.uid", "secrets.mode", "ports.host_ip", "volumes.read_only", "volumes.volume.subpath"),
        *("volumes.bind.propagation", "depends_on.restart", "depends_on.db"),
    }


def test_network_aliases_and_addresses_are_told(tmp_path: Path) -> None:
    networks = {"net": {"aliases": ["web", "www"], "ipv4_address": "10.0.0.2"}}
    draft = one(tmp_path / "shop", {"image": "nginx", "networks": networks})
    assert {row.key: row.why.partition(":")[0] for row in draft.rows if row.key.startswith("networks.")} == {
        "networks.net.aliases": "www",
        "networks.net.ipv4_address": "10.0.0.2",
    }


def test_other_platforms_are_to_do(tmp_path: Path) -> None:
    assert of(one(tmp_path / "shop", {"image": "nginx", "platform": "linux/arm64"}), "platform") == [("to do", "4")]


def test_services_that_are_skipped_are_told_and_unknown_ones_refused(tmp_path: Path) -> None:
    services = {"web": {"image": "nginx", "depends_on": {"db_1": {}}}, "db_1": {"image": "nginx", "privileged": True}}
    text = "services:\n  web: {}\n  db_1: {}\n"
    for name in ("db_1", "db-1"):
        made = plan(tmp_path / "shop", text, services, skip=frozenset({name}))
        assert [draft.name for draft in made.drafts] == ["web"] and not made.refusals()
        assert "left out" in found(made, "db_1").why
    with pytest.raises(ConfigError, match="no service"):
        plan(tmp_path / "shop", text, services, skip=frozenset({"cache"}))
    with pytest.raises(ConfigError, match="has no services"):
        plan(tmp_path / "shop", "x-a: 1\n", {})


def test_the_top_of_the_file_and_docker_composes_warnings_are_told(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop", compose_dot_yaml="name: x\nversion: '3'\nx-a: 1\nnetworks: {n: {}}\nservices:\n  web: {}\n"
    )
    errors = (
        'time="now" level=warning msg="The \\"TZ\\" variable is not set. Defaulting to a blank string."\n'
        'time="now" level=warning msg="the attribute `version` is obsolete"\n'
        'time="now" level=warning msg="something else"\n'
    )
    from slipway._internal.adopt.compose_reader import read_compose

    program = compose_program(tmp_path / "tool", {"services": {"web": {"image": "nginx"}}}, errors=errors)
    made = plan_compose(
        make_workspace(tmp_path / "workspace"),
        read_compose(folder / "compose.yaml", program),
        pins(),
        route=None,
        skip=frozenset(),
    )
    assert {row.key: row.where.rpartition(":")[2] for row in made.rows if row.fate != "to do"} == {
        **{"name": "1", "version": "2", "x-a": "3", "networks": "4"}
    }
    assert [row.key for row in made.rows if row.fate == "to do"] == ["TZ", ""]


def test_a_plan_is_written_whole_with_the_files_that_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    folder = write(
        tmp_path / "shop",
        compose_dot_yaml="services: {web: {}, api: {}}\n",
        nginx_dot_conf="x",
        api__Dockerfile=DOCKERFILE,
        api___dot_dockerignore="*\n!app\n",
        api__conf="c",
        site__a="1",
    )
    project = {
        "services": {
            "web": {
                "image": "nginx",
                "volumes": [
                    {"type": "bind", "source": f"{folder}/nginx.conf", "target": "/etc/n"},
                    {"type": "bind", "source": f"{folder}/site", "target": "/srv/s", "read_only": True},
                ],
            },
            "api": {
                "build": {"context": f"{folder}/api"},
                "volumes": [{"type": "bind", "source": f"{folder}/api/conf", "target": "/conf"}],
            },
        }
    }
    program = compose_program(tmp_path / "tool", project)
    monkeypatch.setattr(adopt, "ensure_tool", lambda _name, **_options: program)
    pin = write(tmp_path, pins_dot_txt=f"# known\nnginx@{DIGEST}\npython:3.12@{DIGEST} # base\n") / "pins.txt"
    with plan_adoption(workspace, Request(str(folder), pin=pin, offline=True), print) as adoption:
        written = adoption.write()
    assert [path.name for path in written] == ["web", "api"]
    assert (written[0] / "adopted" / "nginx.conf").read_text(encoding="utf-8") == "x"
    assert (written[0] / "adopted" / "site" / "a").is_file()
    assert (written[1] / ".dockerignore").read_text(encoding="utf-8").endswith("!adopted\n")
    assert {service.name for service in load_workspace(workspace.root).services} == {"web", "api"}


def test_a_kind_in_place_of_an_image_is_written_as_invoke_new_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    write(
        workspace.root / "kinds" / "valkey",
        Dockerfile="ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS run\n",
        service_dot_toml='kind = "valkey"\nport = 6379\n[args]\nIMAGE_TITLE = "SERVICE"\n',
    )
    folder = write(tmp_path / "shop", compose_dot_yaml="services: {cache: {image: redis}}\n")
    program = compose_program(tmp_path / "tool", {"services": {"cache": {"image": "redis"}}})
    monkeypatch.setattr(adopt, "ensure_tool", lambda _name, **_options: program)
    with plan_adoption(workspace, Request(str(folder), offline=True), print) as adoption:
        adoption.write()
    service = load_workspace(workspace.root).service("cache")
    assert service.settings.kind == "valkey" and service.settings.args == {"IMAGE_TITLE": "cache"}


def test_with_a_refused_service_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    folder = write(tmp_path / "shop", compose_dot_yaml="services:\n  a:\n    privileged: true\n  b: {pid: host}\n")
    project = {"services": {"a": {"image": "nginx", "privileged": True}, "b": {"image": "nginx", "pid": "host"}}}
    program = compose_program(tmp_path / "tool", project)
    monkeypatch.setattr(adopt, "ensure_tool", lambda _name, **_options: program)
    with plan_adoption(workspace, Request(str(folder / "compose.yaml"), offline=True), print) as adoption:
        with pytest.raises(ConfigError, match=r"compose.yaml:3: a: `privileged`") as caught:
            adoption.write()
        assert "b: `pid`" in caught.value.detail and "--skip a" in caught.value.remedy
    assert not (workspace.root / "services").exists()


def test_a_file_of_which_nothing_can_be_adopted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    folder = write(tmp_path / "shop", compose_dot_yaml="services: {a: {}}\n")
    program = compose_program(tmp_path / "tool", {"services": {"a": {"image": "acme/a"}}})
    monkeypatch.setattr(adopt, "ensure_tool", lambda _name, **_options: program)
    with (
        pytest.raises(ConfigError, match="no service of it can be adopted") as caught,
        plan_adoption(workspace, Request(str(folder), offline=True), print),
    ):
        raise AssertionError("nothing is planned")
    assert "acme/a is not pinned" in caught.value.detail and "--pin" in caught.value.remedy


@pytest.mark.parametrize(
    ("options", "why"),
    [({"move": True}, "--move"), ({"name": "x"}, "--name"), ({"ref": "main"}, "--ref")],
)
def test_flags_that_are_not_for_a_compose_file_are_refused(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    folder = write(tmp_path / "shop", compose_dot_yaml="services: {}\n")
    with (
        pytest.raises(ConfigError, match=why),
        plan_adoption(make_workspace(tmp_path / "workspace"), Request(str(folder), offline=True, **options), print),
    ):
        raise AssertionError("nothing is planned")


def test_what_is_read_names_the_line_of_merged_and_extended_keys(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "shop",
        base_dot_yaml="services:\n  old:\n    restart: always\n  new: {extends: old}\n",
        extra_dot_yaml="services:\n  more:\n    image: nginx\n",
    )
    text = (
        "include: [extra.yaml, {path: gone.yaml}]\nx-all: &all\n  tty: true\nservices:\n  web:\n    <<: *all\n"
        "    extends: {file: base.yaml, service: new}\n    ports:\n      - '80'\n      - '81'\n"
        "    environment:\n      - A=1\n      - B\n"
    )
    compose = read(folder, text, {"services": {"web": {}}})
    assert compose.files == (folder / "compose.yaml", folder / "extra.yaml", folder / "base.yaml")
    assert compose.where("services", "web", "tty").endswith("compose.yaml:3")
    assert compose.where("services", "web", "ports", "1").endswith("compose.yaml:10")
    assert compose.where("services", "more", "image").endswith("extra.yaml:3")
    assert compose.where("services", "web", "nothing").endswith("compose.yaml:5")
    assert compose.where("nowhere").endswith("compose.yaml:1")
    assert compose.where("services", "web", "environment", "A").endswith("compose.yaml:12")
    assert compose.where("services", "web", "environment", "B").endswith("compose.yaml:13")
    assert compose.where("services", "web", "environment", "C").endswith("compose.yaml:11")
    assert compose.where("services", "web", "restart").endswith("base.yaml:3")
    assert compose.written_keys("web") == ["extends", "ports", "environment", "tty", "restart"]
