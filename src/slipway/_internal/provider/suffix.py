"""`slipway:index:Suffix`: a random text that is another one after each change of something secret.

It stands at the end of the names of what cannot change in place. A hash would tell whoever reads the name which values
a short secret may have.
"""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

import secrets

from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import Props
from slipway._internal.rollout.cancellation import CancellationToken


class SuffixHandler(ResourceHandler):
    """Ten random letters and digits, new when the secret input `of` changes."""

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
