"""The gateway's page of APIs, in a real browser: what the services of a deployed workspace say that they answer."""

from __future__ import annotations

import json

import pytest
from tests.e2e.browser import browser
from tests.e2e.workspace import Workspace

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]
OPERATIONS = "[...document.querySelectorAll('summary')].map((each) => each.textContent)"
ASKING = "[...document.querySelectorAll('details')].find((each) => each.textContent.startsWith('get/api/items'))"


def test_the_page_shows_what_the_services_answer_and_asks_them(deployed: Workspace) -> None:
    """The page runs under its own content policy, asks this gateway alone, and shows what a service really answers."""
    with browser() as page:
        page.call("Page.navigate", url=f"http://127.0.0.1:{deployed.port}/.slipway/docs")
        page.wait("document.querySelectorAll('section').length > 0")
        assert any(line.startswith("post/api/items") for line in page.evaluate(OPERATIONS))
        page.evaluate(f"{ASKING}.querySelector('button').click()")
        page.wait(f"{ASKING}.querySelector('pre').textContent.startsWith('200')")
        shown = page.evaluate(f"{ASKING}.querySelector('pre').textContent")
        assert json.loads(shown.partition("\n")[2]) == json.loads(deployed.get("/api/items")[1])
        assert page.said == []
        assert all(url.startswith(f"http://127.0.0.1:{deployed.port}/") for url in page.asked)
