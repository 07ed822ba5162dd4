"""Services that need a database start after it, and none can need itself through others."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model.containers import VolumeSettings
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.start_order import backing_needs, find_circle, in_start_order
from slipway._internal.model.workspace import Service, ServiceSettings, load_workspace

DATA = (VolumeSettings("data", "/data"),)


def service(name: str, *needs: str, **settings: object) -> Service:
    found = ServiceSettings(kind="x", needs=needs, port=80, **settings)  # type: ignore[arg-type]
    return Service(name, Path(name), found)


def test_what_has_a_url_or_volumes_starts_before_what_needs_it() -> None:
    services = [
        service("api", "db", "files"),
        service("db", "disk", url="postgres://{host}:{port}"),
        service("disk", volumes=DATA),
        service("files", volumes=DATA),
    ]
    order = [each.name for each in in_start_order(services)]
    assert order.index("disk") < order.index("db") < order.index("api") > order.index("files")
    assert backing_needs(services[0], services) == ["db", "files"]
    assert find_circle(services) == []


def test_services_that_only_call_each_other_wait_for_none() -> None:
    services = [service("api", "web"), service("web", "api")]
    assert [each.name for each in in_start_order(services)] == ["api", "web"]
    assert backing_needs(services[0], services) == []


def test_a_circle_of_backing_services_is_refused_when_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "reg.example"\n')
    for name, other in (("db", "queue"), ("queue", "db")):
        folder = tmp_path / "services" / name
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text("FROM scratch\n")
        (folder / "service.toml").write_text(
            f'kind = "x"\nport = 80\nurl = "x://{{host}}:{{port}}"\nneeds = ["{other}"]\n'
        )
    with pytest.raises(ConfigError, match=r"service.toml:4: `needs` closes a circle: (db → queue → db|queue → db)"):
        load_workspace(tmp_path)
    (tmp_path / "services" / "db" / "service.toml").write_text('kind = "x"\nport = 80\nneeds = ["queue"]\n')
    assert find_circle(load_workspace(tmp_path).services) == [], "queue does not wait for what holds nothing"
