"""A real headless Chromium, spoken to in its own protocol over a pipe: what a page shows, says and asks for.

Debian's package `chromium` is installed where it is missing and this is root; without it the tests fail, as a page
that nobody has rendered is not tested.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 60.0
"""How long one answer may take; a rendered page of a hundred services takes one on an idle machine."""
FLAGS = (
    "--headless",
    "--no-sandbox",  # it runs as root, on a page that these tests made
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """Return a Chromium, installed first where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        for command in (["apt-get", "update", "--quiet"], install):
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
            assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        found = shutil.which("chromium")
    assert found, "the report's page is tested in a real browser: install Chromium (apt-get install chromium)"
    return found


@dataclass
class Page:
    """One open page. `said` has what the console, or an error, said; `asked` every address that was asked for."""

    child: subprocess.Popen[bytes]
    reading: int
    writing: int
    session: str = ""
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    _number: int = 0
    _rest: bytes = b""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Carry out one command of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            found = self._read(end)
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                return dict(found.get("result") or {})
            self._happened(found)

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression is in the page; a promise is waited for."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def show(self, path: Path, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Open a file at this size of window, and wait until it is drawn."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete'")
        self.settle()

    def settle(self) -> None:
        """Wait until what is to be drawn has been drawn."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def wait(self, expression: str) -> None:
        """Wait until something is true in the page."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"still not: {expression}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and release a key, such as `Tab` or `ArrowRight`."""
        codes = {"Tab": 9, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
        code = codes.get(key, ord(key[0]))
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)
        self.settle()

    def picture(self, path: Path) -> None:
        """Write a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        told = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(told["data"]))

    def _happened(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params") or {}
        if method == "Runtime.consoleAPICalled":
            self.said.append(f"{told['type']}: {[each.get('value', each.get('description')) for each in told['args']]}")
        elif method == "Runtime.exceptionThrown":
            self.said.append(json.dumps(told["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.said.append(f"{told['entry']['level']}: {told['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.reading], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            got = os.read(self.reading, 1 << 16)
            assert got, "Chromium has ended"
            self._rest += got
        first, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(first))


@contextmanager
def browser() -> Iterator[Page]:
    """Yield an empty page of a Chromium of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        to_child, writing = os.pipe()
        reading, from_child = os.pipe()

        def as_three_and_four() -> None:
            """Chromium reads commands from descriptor 3 and writes answers to 4."""
            given = os.dup(to_child), os.dup(from_child)
            os.dup2(given[0], 3)
            os.dup2(given[1], 4)

        child = subprocess.Popen(
            [program(), *FLAGS, f"--user-data-dir={home}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=as_three_and_four,  # noqa: PLW1509 - no thread is started before
            start_new_session=True,
        )
        os.close(to_child)
        os.close(from_child)
        try:
            page = Page(child, reading, writing)
            target = page.call("Target.createTarget", url="about:blank")["targetId"]
            page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            yield page
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            os.close(reading)
            os.close(writing)
