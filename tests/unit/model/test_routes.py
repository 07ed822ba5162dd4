"""A service's routes are checked when its file is read, and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway._internal.model import workspace
from slipway._internal.model.environment import service_environment, service_url
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.routes import HeaderSettings, RedirectSettings, RouteSettings
from slipway._internal.model.stack import Stack

SERVICE = 'kind = "k"\nport = 8000\n'
ROUTE = f'{SERVICE}[[routes]]\npath = "/api"\n'
WHOLE = f"""\
{ROUTE}methods = ["GET", "POST"]
rewrite = "/v2"
timeout = 30
request-headers = {{ set = {{ X-Tier = "gold" }}, remove = ["Cookie"] }}
response-headers = {{ set = {{ X-Frame-Options = "DENY" }} }}
[[routes]]
path = "/old"
redirect = {{ path = "/new", status = 301 }}
"""


def load(root: Path, **texts: str) -> workspace.Workspace:
    root.mkdir(exist_ok=True)
    (root / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    for name, text in texts.items():
        folder = root / "services" / name
        folder.mkdir(parents=True)
        (folder / "service.toml").write_text(text)
        (folder / "Dockerfile").write_text("FROM scratch\n")
    return workspace.load_workspace(root)


def test_routes_are_read_whole_and_route_is_short_for_one(tmp_path: Path) -> None:
    found = load(tmp_path, api=WHOLE, web=f'{SERVICE}route = "/"\n', worker='kind = "k"\n')
    assert found.service("api").routes == (
        RouteSettings(
            path="/api",
            methods=("GET", "POST"),
            rewrite="/v2",
            timeout=30,
            request_headers=HeaderSettings({"X-Tier": "gold"}, ("Cookie",)),
            response_headers=HeaderSettings({"X-Frame-Options": "DENY"}),
        ),
        RouteSettings(path="/old", redirect=RedirectSettings(path="/new", status=301)),
    )
    assert found.service("web").routes == (RouteSettings(path="/"),)
    assert found.service("worker").routes == ()


@pytest.mark.parametrize(
    ("keys", "seen", "through_gateway"),
    [
        ("", "/api", "http://gateway:8080/api"),
        ("strip = true\n", "/", "http://gateway:8080/api"),
        ('rewrite = "/v2"\n', "/v2", "http://gateway:8080/api"),
        ('strip = true\nmethods = ["GET"]\n', "/", "http://api:8000"),
        ('[gateway]\nbody = "1m"\n', "/api", "http://gateway:8080/api"),
        ('rewrite = "/v2"\nmethods = ["GET"]\n', "/v2", "http://api:8000/v2"),
    ],
)
def test_a_service_is_told_the_path_that_it_sees_and_others_the_one_to_call(
    tmp_path: Path, keys: str, seen: str, through_gateway: str
) -> None:
    found = load(tmp_path, api=f"{ROUTE}{keys}")
    stack = Stack("dev", Path("x"), mode="inline", target="docker", protected=False)
    assert service_environment(found, found.service("api"), stack)["ROUTE"] == seen
    assert service_url(found.service("api"), "docker") == through_gateway
    assert service_url(found.service("api"), "kubernetes") == f"http://api:8000{seen.rstrip('/')}"


def test_only_a_route_that_leads_to_the_service_is_its_address(tmp_path: Path) -> None:
    away = '[[routes]]\npath = "/old"\nredirect = { host = "www.example.com" }\n'
    found = load(
        tmp_path, api=f'{SERVICE}{away}[[routes]]\npath = "/api"\n', moved=f"{SERVICE}{away.replace('old', 'm')}"
    )
    assert found.service("api").main_route == RouteSettings(path="/api")
    assert found.service("moved").main_route is None
    assert service_url(found.service("moved"), "docker") == "http://moved:8000"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (f'{SERVICE}route = "/a"\n[[routes]]\npath = "/b"\n', 3, "`route` and [[routes]]"),
        ('kind = "k"\n[[routes]]\npath = "/b"\n', 2, "needs a `port`"),
        ('kind = "k"\n[job]\nschedule = "@daily"\n[[routes]]\npath = "/b"\n', 4, "needs a `port`"),
        (f"{SERVICE}[[routes]]\n", 3, "missing key"),
        ('kind = "k"\nprotocol = "h2c"\n', 2, "there is no `port`"),
        (f'{SERVICE}protocol = "h2c"\nhealth = "/h"\n', 3, "no path of it can be asked by `health`"),
        (f'{SERVICE}protocol = "grpc"\n', 3, "protocol"),
        (f'{SERVICE}[[routes]]\npath = "api"\n', 4, "`path` is 'api'"),
        (f'{SERVICE}[[routes]]\npath = "/api/"\n', 4, "`path` is '/api/'"),
        (f'{SERVICE}[[routes]]\npath = "/api//x"\n', 4, "`path` is '/api//x'"),
        (f'{SERVICE}[[routes]]\npath = "/api\\n"\n', 4, "`path` is"),
        (f'{SERVICE}[[routes]]\npath = "/.slipway/x"\n', 4, "is the gateway's"),
        (f'{ROUTE}methods = ["get"]\n', 5, "`methods` names 'get'"),
        (f'{ROUTE}methods = ["CONNECT"]\n', 5, "`methods` names 'CONNECT'"),
        (f'{ROUTE}rewrite = "v2"\n', 5, "`rewrite` is 'v2'"),
        (f'{ROUTE}strip = true\nrewrite = "/v2"\n', 6, "both change the path"),
        (f"{ROUTE}redirect = {{}}\n", 5, "leads nowhere else"),
        (f"{ROUTE}redirect = {{ status = 301 }}\n", 5, "leads nowhere else"),
        (f'{ROUTE}redirect = {{ path = "new" }}\n', 5, "`path` is 'new'"),
        (f'{ROUTE}redirect = {{ host = "a b" }}\n', 5, "`host` is 'a b'"),
        (f'{ROUTE}redirect = {{ path = "/n", status = 200 }}\n', 5, "status"),
        (f'{ROUTE}strip = true\nredirect = {{ path = "/n" }}\n', 5, "has no `strip`"),
        (f'{ROUTE}timeout = 3\nredirect = {{ path = "/n" }}\n', 5, "has no `timeout`"),
        (f"{ROUTE}timeout = 0\n", 5, "timeout"),
        (f"{ROUTE}retry = 3\n", 5, "retry"),
        (f'{ROUTE}request-headers = {{ remove = ["X Y"] }}\n', 5, "no header's name"),
        (f'{ROUTE}request-headers = {{ set = {{ Host = "x" }} }}\n', 5, "Host, which is not for a route"),
        (f'{ROUTE}request-headers = {{ set = {{ x-forwarded-for = "x" }} }}\n', 5, "x-forwarded-for"),
        (f'{ROUTE}request-headers = {{ set = {{ X-A = "x", x-a = "y" }} }}\n', 5, "twice"),
        (f'{ROUTE}request-headers = {{ set = {{ X-A = "x" }}, remove = ["x-a"] }}\n', 5, "twice"),
        (f'{ROUTE}response-headers = {{ set = {{ X-A = "x\\r\\nY: z" }} }}\n', 5, "no header can hold"),
        (f'{ROUTE}response-headers = {{ set = {{ X-A = "" }} }}\n', 5, "no header can hold"),
        (f'{ROUTE}response-headers = {{ remove = ["Content-Length"] }}\n', 5, "Content-Length"),
        (f'{ROUTE}[[routes]]\npath = "/api"\nmethods = ["GET"]\n', 6, "two of the service's routes take GET /api"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, api=text)
    assert f"services/api/service.toml:{line}: " in caught.value.message
    assert said in caught.value.message
    assert caught.value.remedy


def test_services_share_a_path_only_by_different_methods(tmp_path: Path) -> None:
    load(tmp_path / "apart", api=f'{ROUTE}methods = ["GET"]\n', web=f'{ROUTE}methods = ["POST"]\n')
    with pytest.raises(ConfigError, match=r"services/web/service.toml:4: `path` /api is taken by the service `api`"):
        load(tmp_path / "both", api=f'{ROUTE}methods = ["GET"]\n', web=ROUTE)


def test_a_service_that_speaks_http_2_is_called_directly(tmp_path: Path) -> None:
    found = load(tmp_path, api=f'protocol = "h2c"\n{ROUTE}')
    assert service_url(found.service("api"), "docker") == "http://api:8000/api"
