"""Pulls images through the engine, with the login that is configured for pulling."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.run import engine
from slipway._internal.run.credentials import login_config_in_environment, read_login

_pull_config: list[Path] = []


def use_pull_config(folder: Path | None) -> None:
    """Set the Docker config folder that this process pulls with; None for SLIPWAY_PULL_CONFIG's, or the user's.

    This is like `use_workspace` for the workspace: a provider that Pulumi starts itself only has the variable.
    """
    _pull_config[:] = [folder] if folder else []


def pull_image(ref: str, cancellation: CancellationToken) -> Any:
    """Return the image; pull it if the engine does not have it.

    Raises:
        SlipwayError: it cannot be pulled.
        Cancelled: the user interrupted.
    """
    errors, engine_client = engine.load_sdk().errors, engine.client()
    with suppress(errors.ImageNotFound):
        return engine_client.images.get(ref)
    try:
        for step in engine_client.api.pull(ref, stream=True, decode=True, auth_config=pull_login(ref)):
            cancellation.sleep(0)
            if "error" in step:
                raise _pull_error(ref, step["error"])
        return engine_client.images.get(ref)
    except errors.APIError as error:
        raise _pull_error(ref, error.explanation) from error


def pull_login(ref: str) -> dict[str, str] | None:
    """Return the login to pull an image with, from the configured folder; None to use the user's config.

    Raises:
        SlipwayError: the login cannot be read.
    """
    config = _pull_config[0] if _pull_config else login_config_in_environment("pull")
    if config is None:
        return None
    host = ref.partition("/")[0]
    login = read_login(host, config)
    fields = {"username": login.user, "password": login.password, "identitytoken": login.token, "serveraddress": host}
    return {key: value for key, value in fields.items() if value}


def _pull_error(ref: str, reason: str) -> SlipwayError:
    registry = ref.partition("/")[0]
    return SlipwayError(
        f"image {ref} can't be pulled: {reason}",
        remedy="Check that it was pushed (`invoke push --stack STACK`) and that you may read it "
        f"(`docker login {registry}`).",
    )
