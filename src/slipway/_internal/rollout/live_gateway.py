"""The stack's gateway as it serves now, to be switched without Pulumi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from slipway._internal.commands.envoy import GatewayConfig, parse_config, render_config
from slipway._internal.commands.gateway_options import MaintenanceOptions
from slipway._internal.model.errors import SlipwayError
from slipway._internal.rollout import envoy
from slipway._internal.rollout.cancellation import CancellationToken
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
        """Return to an earlier configuration; what is in maintenance now stays so.

        Raises:
            ConfigError: that configuration is somebody else's.
        """
        routes, options = parse_config(live_config)
        options = msgspec.structs.replace(options, maintenance=self.config.options.maintenance)
        envoy.switch_config(self.container, render_config(routes, options), cancellation)

    def switch_maintenance(self, maintenance: MaintenanceOptions | None, cancellation: CancellationToken) -> None:
        """Answer for services in maintenance from now on; for none without."""
        options = msgspec.structs.replace(self.config.options, maintenance=maintenance)
        envoy.switch_config(self.container, render_config(self.config.routes, options), cancellation)
