"""A service that keeps data on a cluster: a StatefulSet of one pod, and a claim that nothing but its name removes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.targets.kubernetes.conftest import settings
from tests.unit.targets.kubernetes.declared import Declared, declare

from slipway._internal.model.errors import ConfigError

DATABASE = """\
kind = "postgres"
image = "docker.io/library/postgres@sha256:%s"
port = 5432
command = ["postgres", "-c", "fsync=on"]
url = "postgres://app@{host}:{port}/app"
[healthcheck]
command = ["pg_isready"]
start-period = 20
[[volumes]]
name = "data"
path = "/var/lib/postgresql"
size = "10g"
""" % ("a" * 64)


@pytest.fixture
def stateful(root: Path) -> Path:
    write(root)
    return root


def write(root: Path, more: str = "") -> None:
    folder = root / "services" / "db"
    folder.mkdir(exist_ok=True)
    (folder / "service.toml").write_text(DATABASE + more, encoding="utf-8")


def pod(found: Declared) -> dict[str, object]:
    spec: dict[str, object] = found["StatefulSet", "db"]["spec"]["template"]["spec"]
    return spec


def test_it_is_one_pod_on_a_claim(stateful: Path) -> None:
    found = declare(stateful)
    assert found["StatefulSet", "db"]["spec"]["replicas"] == 1
    assert ("Deployment", "db") not in found.objects
    claim = found["PersistentVolumeClaim", "db.data"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["resources"]["requests"] == {"storage": "10Gi"}
    assert ("PersistentVolumeClaim", "db.data") in found.after["StatefulSet", "db"]
    (container,) = pod(found)["containers"]  # type: ignore[misc]
    assert {"name": "data-data", "mountPath": "/var/lib/postgresql"} in container["volumeMounts"]
    assert container["args"] == ["postgres", "-c", "fsync=on"]
    assert container["readinessProbe"]["exec"]["command"] == ["pg_isready"]
    volumes = pod(found)["volumes"]
    assert {"name": "data-data", "persistentVolumeClaim": {"claimName": "db.data"}} in volumes  # type: ignore[operator]
    assert pod(found)["securityContext"]["fsGroup"] == 65532  # type: ignore[index]


def test_what_needs_it_waits_for_it(stateful: Path) -> None:
    file = stateful / "services" / "worker" / "service.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('needs = ["api"]', 'needs = ["api", "db"]'))
    found = declare(stateful)
    assert ("StatefulSet", "db") in found.after["Deployment", "worker"]
    assert found["ConfigMap", "worker"]["data"]["DB_URL"] == "postgres://app@db:5432/app"


def test_one_that_runs_elsewhere_is_not_declared(stateful: Path) -> None:
    settings(stateful, "external: db")
    found = declare(stateful)
    assert not [which for which in found.objects if which[1].startswith("db")]


@pytest.mark.parametrize(
    ("more", "said"),
    [('[security]\ncapabilities = ["CHOWN"]\n', "capability CHOWN"), ('[security]\nuser = "0:0"\n', "user 0:0")],
)
def test_what_the_namespace_refuses_is_said_before(stateful: Path, more: str, said: str) -> None:
    write(stateful, more)
    with pytest.raises(ConfigError, match=said):
        declare(stateful)


def test_what_it_allows_is_declared(stateful: Path) -> None:
    write(stateful, '[security]\nuser = "70:70"\nread-only = false\ncapabilities = ["NET_BIND_SERVICE"]\n')
    found = declare(stateful)
    (container,) = pod(found)["containers"]  # type: ignore[misc]
    assert container["securityContext"]["readOnlyRootFilesystem"] is False
    assert container["securityContext"]["capabilities"] == {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}
    assert pod(found)["securityContext"]["runAsUser"] == 70  # type: ignore[index]
