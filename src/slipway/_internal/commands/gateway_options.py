"""What a stack's gateway has besides its routes: the hosts that it answers for, whatever engine serves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import ParseError, convert


class Consumer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who may call: the SHA-256 of each of its keys in hexadecimal, and its groups."""

    keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class TlsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the gateway speaks TLS.

    Attributes:
        certificate: the certificate and its chain, PEM.
        key: the name of the secret file that has the certificate's private key.
        port: the port that callers find it at.
    """

    certificate: str
    key: str
    port: Annotated[int, Meta(ge=1, le=65535)]


class TracesOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the gateway sends spans.

    Attributes:
        url: an OpenTelemetry collector that takes OTLP over HTTP, without `/v1/traces`.
        percent: of the requests that are in no trace yet.
    """

    url: str
    percent: Annotated[int, Meta(ge=1, le=100)] = 100


class AcmeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That the gateway serves the certificate that an authority issued for it, and until there is one, HTTP alone.

    Attributes:
        port: the port that callers find TLS at, once there is a certificate.
    """

    port: Annotated[int, Meta(ge=1, le=65535)]


class MaintenanceOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """What the gateway answers for, in place of services.

    Attributes:
        services: their names; none: all.
        page: what browsers get; empty: a plain page.
        retry_after: the seconds after which callers are told to come again.
    """

    services: tuple[str, ...] = ()
    page: str = ""
    retry_after: Annotated[int, Meta(ge=1, le=86400)] = 300


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
        tls: how it speaks TLS; None: it does not. With `acme` no input of Pulumi's, but what was issued last.
        acme: that it has its certificates issued; None: it has its own, or none.
        challenges: what it answers an authority that looks whether the gateway's hosts are the gateway's: the key
            authorization of each token (RFC 8555, 8.3). No input of Pulumi's.
        hsts: the seconds for which browsers shall come by HTTPS only; 0: they are not told.
        http3: whether it speaks HTTP/3 by UDP, at the port that it speaks TLS at, and says so.
        metrics: whether it has a listener for its metrics.
        traces: where it sends spans; None: nowhere.
        maintenance: what it answers in place of services. No input of Pulumi's: it is switched as the gateway runs, and
            a deploy keeps it.
        consumers: who may call the routes that ask for keys.
        apis: the services that the page of APIs shows; without any, there is no page.
    """

    hosts: tuple[str, ...] = ()
    tls: TlsOptions | None = None
    acme: AcmeOptions | None = None
    challenges: dict[str, str] = {}
    hsts: Annotated[int, Meta(ge=0)] = 0
    http3: bool = False
    metrics: bool = False
    traces: TracesOptions | None = None
    maintenance: MaintenanceOptions | None = None
    consumers: dict[str, Consumer] = {}
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


def parse_consumers(inputs: Mapping[str, Any]) -> dict[str, Consumer]:
    """Return who may call, as it stands in a gateway's inputs.

    Raises:
        ConfigError: it is none.
    """
    try:
        found: dict[str, Consumer] = convert(inputs, dict[str, Consumer])
    except ParseError as error:
        raise ConfigError(f"the gateway's consumers cannot be read: {error}") from error
    return found


def options_as_inputs(options: GatewayOptions) -> dict[str, Any]:
    """Return the options as plain data, without those that are as by default."""
    inputs: dict[str, Any] = msgspec.to_builtins(options)
    return inputs
