"""The moderation of texts by a server that guards.toml names; nothing passes that it has not let pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openai

from app.errors import ApiError
from app.guards import Moderation

NO_KEY = "none"
"""The client wants a key for a server that takes none."""


class Moderator:
    """Asks whether a text may pass."""

    def __init__(self, settings: Moderation, key: str) -> None:
        self.settings = settings
        self._client = openai.AsyncOpenAI(
            api_key=key or NO_KEY, base_url=settings.base_url, timeout=settings.timeout, max_retries=1
        )

    async def check(self, what: str, texts: Iterable[str]) -> None:
        """Return if the texts may pass.

        Args:
            what: what they are, for the message: the request, or the answer.

        Raises:
            ApiError: they were flagged, or nobody could say.
        """
        text = "\n".join(text for text in texts if text.strip())
        if not text:
            return
        try:
            answer = await self._client.moderations.create(model=self.settings.model, input=text)
            flagged = [(result.flagged, result.categories) for result in answer.results]
        except Exception as error:
            raise _down(type(error).__name__) from None
        if not flagged or any(not isinstance(each, bool) for each, _ in flagged):
            raise _down("its answer is not one")
        kinds = sorted({name for each, categories in flagged if each for name in _names(categories)})
        if any(each for each, _ in flagged):
            raise ApiError(
                400, "flagged_by_moderation", f"the moderation has flagged {what}: {', '.join(kinds) or '-'}"
            )


def _down(why: str) -> ApiError:
    message = f"the moderation does not answer ({why}), so nothing passes"
    return ApiError(503, "moderation_down", message, {"Retry-After": "5"})


def _names(categories: Any) -> list[str]:
    """Return the categories that are true, whichever a server has."""
    try:
        return [str(name)[:40] for name, value in dict(categories).items() if value is True]
    except (TypeError, ValueError):
        return []
