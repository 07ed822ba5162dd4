"""The gateway: requests per second and added latency, beside Envoy and NGINX as a user would set them up at first."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import rivals
from bench.ground import Bench
from bench.measure import AT_LEAST, Limit, Row
from bench.process import Failed, end, run, start
from slipway._internal.commands.envoy import BOOTSTRAP, LISTEN_PORT, Route, render_config
from slipway._internal.commands.envoy_listener import ADMIN_SOCKET, CONFIG_DIR

TITLE = "The gateway"
ABOUT = (
    "A request through Slipway's gateway (Envoy with the files that it is given), through Envoy, and through NGINX, "
    "both with a route and kept connections to the service and nothing else, no access log. All have two threads, and "
    "the same service behind them: another Envoy, which answers by itself. Requests a second are of 32 connections "
    "that do what they can. What is added is the latency at 400 requests a second, less that of the service without a "
    "gateway. Slipway looks at each request's path and headers, and writes a log: that is what it costs."
)
THREADS = "2"
PUSHED = ("-qps", "0", "-c", "32", "-t", "4s")
STEADY = ("-qps", "400", "-c", "8", "-t", "5s")
START_SECONDS = 20.0
SERVICE, OURS, ENVOY, NGINX = "the service without a gateway", "Slipway's gateway", "Envoy", "NGINX"
LIMIT = Limit(0.6, AT_LEAST)
"""Of plain Envoy's requests a second: what its checks and a log may cost."""

OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"

PLAIN_NGINX = """\
daemon off;
worker_processes {threads};
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  upstream service {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@dataclass(frozen=True)
class Load:
    """What a load has shown: requests a second, and milliseconds by percentile."""

    rate: float
    p50: float
    p99: float


def rows(bench: Bench) -> Iterator[Row]:
    """Load each of them in turn: with what it can take, then at a rate that all can hold."""
    bench.say("getting the program that asks, Envoy and NGINX")
    fortio, envoy, nginx = rivals.fortio(), rivals.envoy(), rivals.nginx()
    ports = {name: bench.port() for name in (SERVICE, OURS, ENVOY, NGINX)}
    folders = {name: bench.place(f"gateway-{number}") for number, name in enumerate(ports)}
    write_plain_envoy(folders[SERVICE], ports[SERVICE], None)
    write_plain_envoy(folders[ENVOY], ports[ENVOY], ports[SERVICE])
    write_own_envoy(folders[OURS], ports[OURS], ports[SERVICE])
    text = PLAIN_NGINX.format(threads=THREADS, upstream=ports[SERVICE], port=ports[NGINX])
    (folders[NGINX] / "nginx.conf").write_text(text, encoding="utf-8")
    options = ["--concurrency", THREADS, "--disable-hot-restart", "--log-level", "error"]
    as_envoy: list[str | Path] = [envoy, *options, "-c", BOOTSTRAP]
    as_nginx: list[str | Path] = [nginx, "-p", ".", "-c", "nginx.conf"]
    with ExitStack() as running:
        for name, port in ports.items():
            child = start(as_nginx if name == NGINX else as_envoy, folders[name], output=subprocess.DEVNULL)
            running.callback(end, child)
            wait_until_up(name, port)
        bench.say("loading them in turn")
        pushed = in_turn(lambda port: ask(fortio, port, PUSHED, bench.folder), ports, bench.runs)
        steady = in_turn(lambda port: ask(fortio, port, STEADY, bench.folder), ports, bench.runs)
    yield from throughput(pushed)
    yield from latency(steady)


def in_turn(load: Callable[[int], Load], ports: dict[str, int], runs: int) -> dict[str, list[Load]]:
    """Return the loads of each, one after the other and again; a first round does not count."""
    found: dict[str, list[Load]] = {name: [] for name in ports}
    for number in range(1 + runs):
        for name, port in ports.items():
            shown = load(port)
            if number:
                found[name].append(shown)
    return found


def ask(fortio: Path, port: int, how: Sequence[str], folder: Path) -> Load:
    """Send requests, all of which must be answered, and return what was seen."""
    file = folder / "load.json"
    run([fortio, "load", *how, "-p", "50,99", "-r", "0.00005", "-json", file, f"http://127.0.0.1:{port}/"], folder)
    told = json.loads(file.read_text(encoding="utf-8"))
    if set(told["RetCodes"]) != {"200"}:
        raise Failed(f"answers were {told['RetCodes']}")
    return percentiles(told)


def percentiles(told: dict[str, Any]) -> Load:
    """Return what fortio's own file says."""
    p50, p99 = (each["Value"] * 1000 for each in told["DurationHistogram"]["Percentiles"])
    return Load(told["ActualQPS"], p50, p99)


def throughput(found: dict[str, list[Load]]) -> Iterator[Row]:
    """Yield the requests a second of each, and Slipway's to plain Envoy's, pair by pair."""
    for name in (OURS, ENVOY, NGINX, SERVICE):
        yield row(f"{name}, requests a second", [load.rate for load in found[name]], "")
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(found[OURS], found[ENVOY], strict=True)]
    yield row("requests a second, Slipway's gateway to Envoy", ratios, "×", LIMIT)


def latency(found: dict[str, list[Load]]) -> Iterator[Row]:
    """Yield what each adds to the service's own latency."""
    for name in (OURS, ENVOY, NGINX):
        pairs = list(zip(found[name], found[SERVICE], strict=True))
        yield row(f"{name} adds, p50", [load.p50 - own.p50 for load, own in pairs], "ms")
        yield row(f"{name} adds, p99", [load.p99 - own.p99 for load, own in pairs], "ms")


def row(what: str, values: list[float], unit: str, limit: Limit | None = None, figure: str = "gateway") -> Row:
    """Return the row of some values."""
    return Row(figure, what, statistics.median(values), unit, limit, None, len(values), min(values), max(values))


def write_own_envoy(folder: Path, port: int, upstream: int) -> None:
    """Write the files of Slipway's gateway, which is on the machine's own network here, not in a container."""
    here = {
        f'"port_value": {LISTEN_PORT}': f'"port_value": {port}',
        "0.0.0.0": "127.0.0.1",  # noqa: S104 - what is replaced
        CONFIG_DIR: str(folder),
        ADMIN_SOCKET: str(folder / "admin.sock"),
    }
    for name, text in render_config([Route("service", "/", f"127.0.0.1:{upstream}")]).items():
        changed = text
        for old, new in here.items():
            changed = changed.replace(old, new)
        (folder / name).write_text(changed, encoding="utf-8")


def write_plain_envoy(
    folder: Path,
    port: int,
    upstream: int | None,
    body: str = "x" * 100,
    media_type: str = "text/plain",
    *,
    reads_body: bool = False,
) -> None:
    """Write an Envoy configuration with one route: to a service, or without one answered here."""
    clusters = []
    content_type = {"header": {"key": "content-type", "value": media_type}, "append_action": OVERWRITE}
    route: dict[str, object] = {
        "direct_response": {"status": 200, "body": {"inline_string": body}},
        "response_headers_to_add": [content_type],
    }
    if upstream:
        endpoint = {"endpoint": {"address": address(upstream)}}
        assignment = {"cluster_name": "service", "endpoints": [{"lb_endpoints": [endpoint]}]}
        clusters.append({"name": "service", "type": "STATIC", "load_assignment": assignment})
        route = {"route": {"cluster": "service"}}
    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"@type": f"{kind}.http.router.v3.Router"}
    buffer = {"@type": f"{kind}.http.buffer.v3.Buffer", "max_request_bytes": 1 << 20}
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        # The whole request is read first: one that is answered in its middle would end its connection.
        "http_filters": [
            {"name": "envoy.filters.http.buffer", "typed_config": buffer},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ][0 if reads_body else 1 :],
        "route_config": {"virtual_hosts": [host]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "plain", "address": address(port), "filter_chains": [chain]}
    config = {"static_resources": {"listeners": [listener], "clusters": clusters}}
    (folder / BOOTSTRAP).write_text(json.dumps(config), encoding="utf-8")


def address(port: int) -> dict[str, object]:
    """Return a port of this machine as Envoy writes it."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def wait_until_up(name: str, port: int, path: str = "/", seconds: float = START_SECONDS) -> None:
    """Return when a program answers.

    Raises:
        Failed: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise Failed(f"{name} did not answer within {seconds:.0f} s")
