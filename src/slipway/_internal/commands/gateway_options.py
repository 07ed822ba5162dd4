"""What a stack's gateway has besides its routes: the hosts that it answers for, whatever engine serves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import ParseError, convert


class DescribedApi(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A service that says what it answers, by an OpenAPI document.

    Attributes:
        service: its name.
        path: where callers get the document.
        prefix: the part of callers' paths that the service does not get, and may not know of.
    """

    service: str
    path: str
    prefix: str = ""


class GatewayOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """The settings of a gateway as a whole. They are readable in its configuration and in Pulumi's state: no secrets.

    A secret is a file of the gateway's container, see `GatewaySpec.secrets`; an option names the file.

    Attributes:
        hosts: the names that requests are for; none: all.
        apis: the services that the page of APIs shows; without any, there is no page.
    """

    hosts: tuple[str, ...] = ()
    apis: tuple[DescribedApi, ...] = ()


DEFAULT_OPTIONS = GatewayOptions()
"""The options of a gateway without settings of its own."""


def parse_options(inputs: Mapping[str, Any]) -> GatewayOptions:
    """Return the options as they stand in a gateway's inputs or in its configuration.

    Raises:
        ConfigError: they are none.
    """
    try:
        return convert(inputs, GatewayOptions, strict=False)  # Pulumi's numbers are floats
    except ParseError as error:
        raise ConfigError(f"the gateway's options cannot be read: {error}") from error


def options_as_inputs(options: GatewayOptions) -> dict[str, Any]:
    """Return the options as plain data, without those that are as by default."""
    inputs: dict[str, Any] = msgspec.to_builtins(options)
    return inputs
