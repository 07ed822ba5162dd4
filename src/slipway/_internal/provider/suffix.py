"""`slipway:index:Suffix`: a random text that is renewed whenever a secret value changes.

It ends the names of objects that cannot change in place. A hash instead would help a reader of the name to guess a
short secret.
"""

# ruff: noqa: ARG002 - not every handler needs every argument

from __future__ import annotations

import secrets

from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import Props
from slipway._internal.rollout.cancellation import CancellationToken


class SuffixHandler(ResourceHandler):
    """Ten random letters and digits, renewed when the secret input `of` changes."""

    secret = ("of",)
    computed = ("text",)

    def diff(self, old: ResourceState, news: Props) -> Diff:
        return Diff(changed_keys(old.inputs, news, ("of",)))

    def unchanged_outputs(self, old: ResourceState) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        return ActualState("suffix", {"text": secrets.token_hex(5)})

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        return {"text": secrets.token_hex(5)}
