"""`slipway:index:Suffix`: a random text that is another one after each change of something secret.

It stands at the end of the names of what cannot change in place. A hash would tell whoever reads the name which values
a short secret may have.
"""

# ruff: noqa: ARG002 - not every kind needs all that it is told

from __future__ import annotations

import secrets

from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.values import Props


class Suffix(Kind):
    """Ten random letters and digits, new when the secret input `of` changes."""

    secret = ("of",)
    computed = ("text",)

    def diff(self, old: State, news: Props) -> Diff:
        return Diff(changed_keys(old.inputs, news, ("of",)))

    def kept(self, old: State) -> Props:
        return {}

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        return Real("suffix", {"text": secrets.token_hex(5)})

    def update(self, old: State, news: Props, stop: Stop) -> Props:
        return {"text": secrets.token_hex(5)}
