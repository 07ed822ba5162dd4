"""The stack's gateway as it serves now, to be switched without Pulumi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from slipway._internal.commands.envoy import GatewayConfig, parse_config, render_config
from slipway._internal.commands.gateway_options import MaintenanceOptions, TlsOptions
from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import envoy
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.gateway import put_issued_key
from slipway._internal.run import engine


@dataclass(frozen=True)
class LiveGateway:
    """The stack's gateway as it serves now: its container and its live configuration, read back."""

    container: Any
    live_config: dict[str, str]
    config: GatewayConfig

    @classmethod
    def of(cls, workspace: str, stack: str) -> LiveGateway:
        """Return the gateway that runs.

        Raises:
            SlipwayError: none does, or somebody else has changed its configuration.
        """
        running = [
            candidate for candidate in engine.list_containers(workspace, stack) if candidate.service == envoy.GATEWAY
        ]
        if not running or running[-1].state != "running":
            raise SlipwayError(f"the gateway of {stack} does not run", remedy="Press Enter: `up` restores it.")
        return cls.in_container(running[-1].id)

    @classmethod
    def in_container(cls, container_id: str) -> LiveGateway:
        """Return the gateway that runs in a container.

        Raises:
            SlipwayError: somebody else has changed its configuration.
        """
        gateway_container = engine.client().containers.get(container_id)
        live_config = envoy.read_live_config(gateway_container)
        return cls(gateway_container, live_config, parse_config(live_config))

    def switch_upstreams(self, upstreams: Mapping[str, str], cancellation: CancellationToken) -> None:
        """Send services' requests to other containers; those in flight go on."""
        routes = [replace(route, upstream=upstreams.get(route.service, route.upstream)) for route in self.config.routes]
        envoy.switch_config(self.container, render_config(routes, self.config.options), cancellation)

    def switch_back(self, live_config: Mapping[str, str], cancellation: CancellationToken) -> None:
        """Return to an earlier configuration; what is in maintenance now stays so, and a certificate issued since.

        Raises:
            ConfigError: that configuration is somebody else's.
        """
        routes, options = parse_config(live_config)
        live = self.config.options
        options = msgspec.structs.replace(options, maintenance=live.maintenance)
        if live.acme:
            options = msgspec.structs.replace(options, tls=live.tls, challenges=live.challenges)
        envoy.switch_config(self.container, render_config(routes, options), cancellation)

    def switch_challenges(self, challenges: Mapping[str, str], cancellation: CancellationToken) -> None:
        """Answer an authority that looks whether the gateway's hosts are the gateway's; without any, do not any more.

        Args:
            challenges: token → key authorization.
            cancellation: stops the waiting.
        """
        options = msgspec.structs.replace(self.config.options, challenges=dict(challenges))
        envoy.switch_config(self.container, render_config(self.config.routes, options), cancellation)

    def switch_certificate(self, tls: TlsOptions, key: str, cancellation: CancellationToken) -> None:
        """Serve another certificate that was issued for the gateway; connections and requests in flight go on.

        Args:
            tls: the certificate; its key's name is not that of the one before.
            key: its private key, PEM.
            cancellation: stops the waiting.
        """
        before = self.config.options.tls
        put_issued_key(self.container, tls.key, key)
        options = msgspec.structs.replace(self.config.options, tls=tls)
        envoy.switch_config(self.container, render_config(self.config.routes, options), cancellation)
        if before and before.key != tls.key:
            put_issued_key(self.container, before.key, "")

    def switch_maintenance(self, maintenance: MaintenanceOptions | None, cancellation: CancellationToken) -> None:
        """Answer for services in maintenance from now on; for none without."""
        options = msgspec.structs.replace(self.config.options, maintenance=maintenance)
        envoy.switch_config(self.container, render_config(self.config.routes, options), cancellation)
