"""Fetches images: the engine pulls them, with the login that is meant for pulling."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from slipway.model.errors import SlipwayError
from slipway.provider.kind import Stop
from slipway.run import engine
from slipway.run.credentials import config_in_environment, login_of


def pull(ref: str, stop: Stop) -> Any:
    """Return the image, fetched from its registry when the engine doesn't have it.

    Raises:
        SlipwayError: it can't be had.
        Cancelled: the user interrupted.
    """
    errors, engine_client = engine.sdk().errors, engine.client()
    with suppress(errors.ImageNotFound):
        return engine_client.images.get(ref)
    try:
        for step in engine_client.api.pull(ref, stream=True, decode=True, auth_config=login_for(ref)):
            stop.sleep(0)
            if "error" in step:
                raise _not_had(ref, step["error"])
        return engine_client.images.get(ref)
    except errors.APIError as error:
        raise _not_had(ref, error.explanation) from error


def login_for(ref: str) -> dict[str, str] | None:
    """Return the login that the engine pulls an image with: SLIPWAY_PULL_CONFIG's; None takes the user's.

    Raises:
        SlipwayError: the login cannot be read.
    """
    config = config_in_environment("pull")
    if config is None:
        return None
    host = ref.partition("/")[0]
    login = login_of(host, config)
    known = {"username": login.user, "password": login.password, "identitytoken": login.token, "serveraddress": host}
    return {key: value for key, value in known.items() if value}


def _not_had(ref: str, why: str) -> SlipwayError:
    registry = ref.partition("/")[0]
    return SlipwayError(
        f"image {ref} can't be pulled: {why}",
        remedy=f"Is it there (`invoke push --stack STACK` pushes it)? May you read it (`docker login {registry}`)?",
    )
