"""The part of the gateway's Envoy configuration that answers in place of services during their maintenance."""

from __future__ import annotations

from collections.abc import Sequence

from slipway._internal.commands.envoy_messages import JsonObject, set_header
from slipway._internal.commands.gateway_options import MaintenanceOptions

MARK = 597
"""The status by which the listener knows these answers from Envoy's own 503: it makes 503 of it."""
WORDS = "down for maintenance"
PAGE = (
    f"<!doctype html><title>{WORDS.capitalize()}</title><h1>{WORDS.capitalize()}</h1>\n<p>Try again in a while.</p>\n"
)
MAX_PAGE_BYTES = 64 << 10


def for_everything(options: MaintenanceOptions) -> list[JsonObject]:
    """Return the entries that answer whatever is asked."""
    return _answers({"prefix": "/"}, options)


def for_service(entries: Sequence[JsonObject], options: MaintenanceOptions) -> list[JsonObject]:
    """Return the entries of a service's routes with the answer in place of the service; refusals stay."""
    found: list[JsonObject] = []
    for entry in entries:
        for answer in [entry] if "direct_response" in entry else _answers(entry["match"], options):
            if answer not in found:
                found.append(answer)
    return found


def _answers(match: JsonObject, options: MaintenanceOptions) -> list[JsonObject]:
    wants_html = {"name": "accept", "string_match": {"contains": "text/html", "ignore_case": True}}
    html = {**match, "headers": [*match.get("headers", ()), wants_html]}
    text = f'{{"error": "{WORDS}", "status": 503}}\n'
    return [
        _answer(html, options.page or PAGE, "text/html; charset=utf-8", options),
        _answer(match, text, "application/json", options),
    ]


def _answer(match: JsonObject, body: str, content_type: str, options: MaintenanceOptions) -> JsonObject:
    headers = {
        "Content-Type": content_type,
        "Retry-After": f"{options.retry_after}",
        "Cache-Control": "no-store",
    }
    return {
        "match": match,
        "direct_response": {"status": MARK, "body": {"inline_string": body}},
        "response_headers_to_add": [set_header(name, value) for name, value in headers.items()],
    }
