"""The part of the gateway's Envoy configuration that answers who issues certificates: HTTP-01 (RFC 8555, 8.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from slipway._internal.commands.envoy_messages import JsonObject, set_header

CHALLENGE_PATH = "/.well-known/acme-challenge"
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,256}")
"""What a token is made of, and the digest of an account's key (RFC 8555, 8.1)."""


def challenge_routes(challenges: Mapping[str, str]) -> list[JsonObject]:
    """Return the routes that answer these tokens; whoever asks for another one comes to the services.

    Args:
        challenges: token → key authorization. Neither is a secret.
    """
    return [
        {
            "match": {"path": f"{CHALLENGE_PATH}/{token}"},
            "direct_response": {"status": 200, "body": {"inline_string": answer}},
            "response_headers_to_add": [set_header("Content-Type", "application/octet-stream")],
        }
        for token, answer in sorted(challenges.items())
    ]
