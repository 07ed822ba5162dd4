"""The certificate of a stack's gateway on a Docker engine: read from its file, checked, and its key kept a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi

from slipway._internal.commands.gateway_options import AcmeOptions, TlsOptions
from slipway._internal.model.certificates import Certificate, check_certificate, check_key, parse_certificate
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.gitignore import is_ignored_file
from slipway._internal.model.hosts import hosts_of
from slipway._internal.model.masking import register_secret
from slipway._internal.model.setting_sources import describe_port_setting
from slipway._internal.model.stack import (
    Stack,
    gateway_port_of,
    hosts_of_stack,
    setting_line,
    speaks_tls,
    tls_port_of,
)
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import Service, Workspace

CERTIFICATE, KEY = "slipway:certificate", "slipway:certificate-key"
CONFIG_NAMESPACE, CONFIG_KEY = "gateway", "certificate-key"
"""The key of the certificate's private key in a stack's encrypted configuration: `gateway:certificate-key`."""


@dataclass(frozen=True)
class GatewayTls:
    """What a gateway needs to speak TLS: a certificate with its key, or that it has one issued; without, nothing."""

    options: TlsOptions | None = None
    acme: AcmeOptions | None = None
    secrets: Mapping[str, pulumi.Input[str]] | None = None


def read_tls(workspace: Workspace, stack: Stack, services: Sequence[Service]) -> GatewayTls:
    """Return the certificate that a stack's settings name; warn if it expires soon.

    Args:
        workspace: the workspace.
        stack: the stack.
        services: those that run in it: the certificate must be for their routes' hosts.

    Raises:
        ConfigError: it cannot be read, is not valid now or for all hosts, or its key is not there or another one's.
    """
    if not speaks_tls(stack):
        return GatewayTls()
    port = _tls_port(workspace, stack)
    if not stack.certificate:
        return GatewayTls(acme=AcmeOptions(port))
    file = Path(stack.certificate)
    where = f"{stack.file}:{setting_line(stack, CERTIFICATE)}: the certificate {file}"
    certificate = parse_certificate(_read(file, where), where)
    routes = [route for service in services for route in service.routes]
    hosts = {host for route in routes for host in hosts_of(route.host, hosts_of_stack(stack))}
    if warning := check_certificate(certificate, hosts | {*hosts_of_stack(stack)}, where):
        pulumi.log.warn(f"{warning}: have it renewed, and deploy again")
    key = _read_key(workspace, stack, certificate)
    name = f"certificate-{certificate.fingerprint}.key"
    return GatewayTls(TlsOptions(certificate.pem, name, port), secrets={name: pulumi.Output.secret(key)})


def _tls_port(workspace: Workspace, stack: Stack) -> int:
    port = tls_port_of(workspace, stack)
    if port == gateway_port_of(workspace, stack):
        setting = describe_port_setting(stack.name, workspace.root, key="tls-port")
        raise ConfigError(
            f"{stack.file}: the gateway of {stack.name} would have one port, {port}, with TLS and without",
            remedy=f"Set another one: {setting}.",
        )
    return port


def _read_key(workspace: Workspace, stack: Stack, certificate: Certificate) -> str:
    """Return the certificate's private key, from its file or the stack's encrypted configuration."""
    setting = f"{CONFIG_NAMESPACE}:{CONFIG_KEY}"
    if stack.certificate_key:
        file = Path(stack.certificate_key)
        where = f"{stack.file}:{setting_line(stack, KEY)}: the private key {file}"
        if file.is_relative_to(workspace.root) and not is_ignored_file(workspace.root, file):
            raise ConfigError(
                f"{where} is in the workspace, and git does not ignore it",
                remedy="Move it out of the workspace, or name it in .gitignore; if it was committed, it is known.",
            )
        key = _read(file, where)
    else:
        where = f"{stack.file}: the secret {setting}"
        found = pulumi.Config(CONFIG_NAMESPACE).get(CONFIG_KEY)
        if not found:
            raise ConfigError(
                f"{stack.file}:{setting_line(stack, CERTIFICATE)}: `{CERTIFICATE}` is set, but not the certificate's "
                "private key",
                remedy=f"In infra/: `../.venv/bin/pulumi config set --secret --stack {stack.name} {setting} < KEY`. Or "
                f"name its file, which git ignores: `{KEY}: ~/keys/shop.key`.",
            )
        key = found
    register_secret(key)
    check_key(certificate, key, where)
    return key


def _read(file: Path, where: str) -> str:
    try:
        return read_text(file)
    except ConfigError as error:
        raise ConfigError(f"{where} cannot be read: {error.message}", remedy=error.remedy) from error
