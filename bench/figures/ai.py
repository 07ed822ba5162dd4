"""The gateway for language models: requests per second and added latency, beside LiteLLM's SDK and its proxy alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import rivals
from bench.figures.gateway import Load, in_turn, percentiles, row, wait_until_up, write_plain_envoy
from bench.ground import Bench
from bench.measure import AT_LEAST, Limit, Row
from bench.process import Failed, end, merged, run
from bench.trees import ROOT
from slipway._internal.commands.envoy import BOOTSTRAP

TITLE = "The gateway for language models"
ABOUT = (
    "A chat through Slipway's gateway for language models, through LiteLLM's SDK in an API of a few lines, and through "
    "LiteLLM's proxy with a master key and no database. All have one process, and the same model behind them: an "
    "Envoy that answers by itself, always the same. Slipway's checks a key, looks for what must not go out in the "
    "request and the answer, reserves and settles four limits (in memory), and writes a log line; LiteLLM's SDK does "
    "none of that. Requests a second are of 8 connections that do what they can. What is added is the latency of a "
    "request at a time, less that of the model without a gateway."
)
KIND = ROOT / "src" / "slipway" / "kinds" / "ai-gateway"
COMMON = ROOT / "{{cookiecutter.project_slug}}" / "libs" / "common"
PROGRAMS = ROOT / "bench" / "programs"
KEY = "sk-bench-0123456789"
PUSHED = ("-qps", "0", "-c", "8", "-t", "4s")
STEADY = ("-qps", "0", "-c", "1", "-t", "4s")
START_SECONDS = 300.0
MODEL, OURS, SDK, PROXY = (
    "the model without a gateway",
    "Slipway's gateway for models",
    "LiteLLM's SDK",
    "LiteLLM's proxy",
)
LIMITS = {SDK: Limit(0.7, AT_LEAST), PROXY: Limit(0.9, AT_LEAST)}
"""Of theirs, the requests a second: what keys, limits, guards and a log may cost over the SDK alone."""
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "An anchor holds. " * 20}}
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 100, "total_tokens": 107},
}
REQUEST = {"model": "good", "messages": [{"role": "user", "content": "What does an anchor do? " * 10}]}


def rows(bench: Bench) -> Iterator[Row]:
    """Load each of them in turn: with what it can take, then with a request at a time."""
    bench.say("getting the program that asks, the model, and both LiteLLMs")
    fortio, envoy = rivals.fortio(), rivals.envoy()
    own, proxy = rivals.ai_gateway_python(KIND / "requirements.txt"), rivals.litellm_proxy_python()
    ports = {name: bench.port() for name in (MODEL, OURS, SDK, PROXY)}
    model = bench.place("ai-model")
    write_plain_envoy(model, ports[MODEL], None, json.dumps(ANSWER), "application/json", reads_body=True)
    upstream = f"http://127.0.0.1:{ports[MODEL]}"
    config = bench.place("ai-proxy") / "config.yaml"
    config.write_text(proxy_config(upstream), encoding="utf-8")
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}
    code = {"PYTHONPATH": f"{KIND}:{COMMON}"}
    commands: dict[str, tuple[Sequence[str | Path], dict[str, str], str]] = {
        MODEL: (
            [envoy, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", BOOTSTRAP],
            {},
            "/",
        ),
        OURS: ([own, PROGRAMS / "ai_gateway.py", str(ports[OURS]), upstream, digest], code, "/health"),
        SDK: ([own, PROGRAMS / "litellm_sdk.py", str(ports[SDK]), upstream], {}, "/health"),
        PROXY: (
            [
                proxy,
                "-m",
                "litellm.proxy.proxy_cli",
                "--config",
                config,
                "--host",
                "127.0.0.1",
                "--port",
                str(ports[PROXY]),
            ],
            {},
            "/health/liveliness",
        ),
    }
    with ExitStack() as running:
        for name, (command, environment, _) in commands.items():
            log = running.enter_context((bench.folder / f"ai-{ports[name]}.log").open("w", encoding="utf-8"))
            child = subprocess.Popen(
                [str(word) for word in command], cwd=model, env=merged({**quiet, **environment}),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
            running.callback(end, child)
        for name, (_, _, health) in commands.items():
            wait_until_up(name, ports[name], health, START_SECONDS)
        bench.say("loading them in turn")
        pushed = in_turn(partial(ask, fortio, PUSHED, bench.folder), ports, bench.runs)
        steady = in_turn(partial(ask, fortio, STEADY, bench.folder), ports, bench.runs)
    for name in (OURS, SDK, PROXY, MODEL):
        yield row(f"{name}, requests a second", [load.rate for load in pushed[name]], "", figure="ai")
    for name in (SDK, PROXY):
        ratios = [ours.rate / theirs.rate for ours, theirs in zip(pushed[OURS], pushed[name], strict=True)]
        yield row(f"requests a second, Slipway's gateway for models to {name}", ratios, "×", LIMITS[name], figure="ai")
    for name in (OURS, SDK, PROXY):
        pairs = list(zip(steady[name], steady[MODEL], strict=True))
        yield row(f"{name} adds, p50", [load.p50 - alone.p50 for load, alone in pairs], "ms", figure="ai")
        yield row(f"{name} adds, p99", [load.p99 - alone.p99 for load, alone in pairs], "ms", figure="ai")


def ask(fortio: Path, how: Sequence[str], folder: Path, port: int) -> Load:
    """Send chats, all of which must be answered, and return what was seen."""
    file = folder / "ai.json"
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    sent = ("-content-type", "application/json", "-payload", json.dumps(REQUEST), "-H", f"Authorization: Bearer {KEY}")
    run([fortio, "load", *how, "-timeout", "30s", "-p", "50,99", "-r", "0.0001", *sent, "-json", file, url], folder)
    told = json.loads(file.read_text(encoding="utf-8"))
    if set(told["RetCodes"]) != {"200"}:
        raise Failed(f"answers were {told['RetCodes']}")
    return percentiles(told)


def proxy_config(upstream: str) -> str:
    """Return the proxy's own file."""
    params = {"model": "openai/good", "api_base": f"{upstream}/v1", "api_key": "none"}
    return json.dumps({"model_list": [{"model_name": "good", "litellm_params": params}]})
