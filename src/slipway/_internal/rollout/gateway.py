"""The gateway's container: its specification, its addresses, and the problems of a running one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import msgspec

from slipway._internal.commands.envoy import (
    LISTEN_PORT,
    CanaryShare,
    GatewayConfig,
    Route,
    read_issued,
    read_maintenance,
    render_config,
)
from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.commands.envoy_metrics import METRICS_PORT
from slipway._internal.commands.envoy_tls import TLS_PORT
from slipway._internal.commands.gateway_options import (
    DEFAULT_OPTIONS,
    GatewayOptions,
    MaintenanceOptions,
    TlsOptions,
    parse_consumers,
    parse_options,
)
from slipway._internal.model.addresses import is_same_address, url_authority
from slipway._internal.model.containers import SECRETS_DIR
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.masking import register_secret
from slipway._internal.model.parsing import ParseError, convert
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.routes import RouteSettings
from slipway._internal.model.setting_sources import describe_port_setting
from slipway._internal.rollout import certificate_store, container_files, envoy
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import LOG_ROTATION, MIN_API_VERSION, inspect_container
from slipway._internal.rollout.container_files import FileOwner
from slipway._internal.rollout.hardening import hardened_settings, with_init_fallback
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.ownership import (
    name_conflict_error,
    object_labels,
    refuse_foreign_volume,
    remove_orphaned_container,
)
from slipway._internal.rollout.start_failure import explain_start_failure
from slipway._internal.run import engine, ports

GATEWAY = NETWORK_ALIAS = envoy.GATEWAY
USER = "65532:65532"
OWNER = FileOwner(65532, 65532)
STORE_VOLUME = "acme"
"""The volume that outlives the container: an authority issues few certificates a week for a host."""
LOOPBACK = "127.0.0.1"
WILDCARD_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - only compared with


@dataclass(frozen=True)
class GatewaySpec:
    """The gateway's inputs. It listens at `bind:port` on the engine's machine, and at `bind:tls_port` if that is not 0.
    Its metrics are at `metrics_port` of that machine's loopback address, and HTTP/3 at the UDP port `http3_port`.

    `secrets` maps the names of files under /run/secrets to what they hold; only the gateway's user reads them. Envoy
    takes up a file that its configuration begins to name, so what changes is another file with another name.
    """

    workspace: str
    stack: str
    image: str
    network: str
    bind: str
    port: int
    routes: tuple[Route, ...]
    options: GatewayOptions = DEFAULT_OPTIONS
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    tls_port: int = 0
    metrics_port: int = 0
    http3_port: int = 0

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any]) -> GatewaySpec:
        fixed = {key: inputs[key] for key in ("workspace", "stack", "image", "network", "bind", "port")}
        canaries = inputs.get("canaries") or {}
        routes = tuple(_parse_route(route, canaries.get(route["service"])) for route in inputs["routes"])
        secrets = dict(inputs.get("secrets") or {})
        for secret in secrets.values():
            register_secret(str(secret))
        consumers = parse_consumers(inputs.get("consumers") or {})
        options = msgspec.structs.replace(parse_options(inputs.get("options") or {}), consumers=consumers)
        return cls(
            **fixed,
            routes=routes,
            options=options,
            secrets=secrets,
            tls_port=int(inputs.get("tlsPort") or 0),
            metrics_port=int(inputs.get("metricsPort") or 0),
            http3_port=int(inputs.get("http3Port") or 0),
        )

    def keeping(self, live: Mapping[str, str]) -> GatewaySpec:
        """Return the gateway with what was switched as it ran, by its live configuration: maintenance and certificate.

        Args:
            live: the configuration's files.
        """
        issued = read_issued(live)
        kept = self.during(read_maintenance(live))
        if kept.options.acme is None:
            return kept
        return kept.serving(issued.tls, issued.challenges)

    def serving(self, tls: TlsOptions | None, challenges: Mapping[str, str] | None = None) -> GatewaySpec:
        """Return the gateway with the certificate that was issued for it, and what it answers who issues it."""
        assert self.options.acme
        if tls:
            tls = msgspec.structs.replace(tls, port=self.options.acme.port)
        return replace(self, options=msgspec.structs.replace(self.options, tls=tls, challenges=dict(challenges or {})))

    def during(self, maintenance: MaintenanceOptions | None) -> GatewaySpec:
        """Return the gateway with what is in maintenance now."""
        return replace(self, options=msgspec.structs.replace(self.options, maintenance=maintenance))

    @property
    def name(self) -> str:
        return f"{self.workspace}-{self.stack}-{GATEWAY}"

    @property
    def table(self) -> GatewayConfig:
        return GatewayConfig(self.routes, self.options)

    @property
    def config(self) -> dict[str, str]:
        return render_config(*self.table)


def create_gateway(spec: GatewaySpec, urn: str, cancellation: CancellationToken) -> tuple[Any, Any]:
    """Return a new gateway's container once it serves, and its image; on any error, leave nothing behind."""
    return with_init_fallback(lambda: _create_gateway(spec, urn, cancellation))


def _create_gateway(spec: GatewaySpec, urn: str, cancellation: CancellationToken) -> tuple[Any, Any]:
    with engine.docker_errors():
        image = pull_image(spec.image, cancellation)
        refuse_other_image(image, spec.stack)
        remove_orphaned_container(spec.name, urn)
        for purpose in (*engine.VOLUME_PURPOSES, STORE_VOLUME):
            refuse_foreign_volume(engine.volume_name(spec.name, purpose), urn)
        container = None
        try:
            container = engine.client().containers.create(spec.image, **gateway_options(spec, urn))
            spec = with_issued(spec, container)
            container_files.put_files(container, CONFIG_DIR, spec.config)
            put_secrets(container, spec)
            container.start()
            _check_listen_address(container, spec)
            envoy.wait_until_started(container, spec.config, cancellation)
            container.update(restart_policy=engine.RESTART_POLICY)
        except BaseException as error:
            start_error: BaseException = (
                name_conflict_error(spec.name, error)
                or _listen_error(spec, error)
                or explain_start_failure(GATEWAY, container, error)
            )
            if container is not None:  # by id: another container with this name must stay
                with suppress(SlipwayError):
                    engine.remove_container(container.id, name=spec.name)
            raise start_error from error
    return container, image


def gateway_options(spec: GatewaySpec, urn: str) -> dict[str, Any]:
    """Return the options to create the gateway's container with."""
    types = engine.load_sdk().types
    labels = object_labels(spec.workspace, spec.stack, GATEWAY, urn)
    mounts = [
        types.Mount(folder, engine.volume_name(spec.name, kind), type="volume", labels=labels, no_copy=True)
        for folder, kind in ((CONFIG_DIR, engine.CONFIG_VOLUME), (SECRETS_DIR, engine.SECRETS_VOLUME))
    ]
    if spec.options.acme:
        store = engine.volume_name(spec.name, STORE_VOLUME)
        kept = {**labels, engine.DATA_LABEL: "true"}
        mounts.append(types.Mount(certificate_store.FOLDER, store, type="volume", labels=kept, no_copy=True))
    return {
        **hardened_settings(),
        "name": spec.name,
        "labels": labels,
        "user": USER,
        "entrypoint": envoy.start_command(),
        "command": [],
        "stop_signal": "SIGTERM",  # `control` ends Envoy once its last request is answered
        "network": spec.network,
        "networking_config": {spec.network: types.EndpointConfig(MIN_API_VERSION, aliases=[NETWORK_ALIAS])},
        "ports": {
            f"{LISTEN_PORT}/tcp": (spec.bind, spec.port),
            **({f"{TLS_PORT}/tcp": (spec.bind, spec.tls_port)} if spec.tls_port else {}),
            **({f"{TLS_PORT}/udp": (spec.bind, spec.http3_port)} if spec.http3_port else {}),
            **({f"{METRICS_PORT}/tcp": (LOOPBACK, spec.metrics_port)} if spec.metrics_port else {}),
        },
        "mounts": mounts,
        "log_config": types.LogConfig(type="json-file", config=LOG_ROTATION),
    }


def with_issued(spec: GatewaySpec, container: Any) -> GatewaySpec:
    """Return the gateway with the certificate that its store has, where it has its certificates issued.

    Args:
        spec: the gateway.
        container: its container, which need not run.
    """
    issued = certificate_store.read_issued(container) if spec.options.acme else None
    if issued is None or spec.options.acme is None:
        return spec
    tls = certificate_store.tls_of(issued, spec.options.acme.port)
    return replace(spec.serving(tls), secrets={**spec.secrets, tls.key: issued.key})


def put_secrets(container: Any, spec: GatewaySpec) -> None:
    """Put the gateway's secrets into its container, readable by its user alone."""
    if spec.secrets:
        container_files.put_files(container, SECRETS_DIR, spec.secrets, owner=OWNER, mode=0o400)


def put_issued_key(container: Any, name: str, key: str) -> None:
    """Put the private key of an issued certificate into a gateway's container; an empty one takes it away."""
    container_files.put_files(container, SECRETS_DIR, {name: key}, owner=OWNER, mode=0o400)


def clear_secrets(container: Any, names: Collection[str]) -> None:
    """Empty the files of secrets that the gateway does not have any more: nothing in its image could remove them."""
    if names:
        container_files.put_files(container, SECRETS_DIR, dict.fromkeys(names, ""), owner=OWNER, mode=0o400)


def has_store(details: Mapping[str, Any]) -> bool:
    """Return whether a gateway's container has the folder of issued certificates, by the engine's details of it."""
    return any(mount["Destination"] == certificate_store.FOLDER for mount in details["Mounts"])


def has_secrets_folder(details: Mapping[str, Any]) -> bool:
    """Return whether a gateway's container has the folder of its secrets, by the engine's details of it."""
    return any(mount["Destination"] == SECRETS_DIR for mount in details["Mounts"])


def refuse_other_image(image: Any, stack: str) -> None:
    """Refuse an image that is not the base `envoy`: an older version's gateway is an NGINX, and may be locked."""
    entrypoint = image.attrs["Config"].get("Entrypoint") or []
    if tuple(entrypoint) != envoy.ENTRYPOINT:
        raise SlipwayError(
            "the gateway's image has no Envoy: it was made for an older version of Slipway",
            remedy=f"Run `invoke setup`, then `invoke ship --stack {stack}` if the stack runs what a lock names.",
        )


def gateway_url(bind: str, port: int, scheme: str = "http") -> str:
    """Return the gateway's URL: on the engine's machine, or on localhost if that is this machine."""
    if bind in WILDCARD_ADDRESSES:
        address = engine.address()
        host = (urlsplit(address).hostname if address.startswith(("ssh://", "tcp://")) else None) or "localhost"
    else:
        host = bind
    return f"{scheme}://{url_authority(host, port, scheme)}"


def published_addresses(
    details: dict[str, Any], port: int = LISTEN_PORT, protocol: str = "tcp"
) -> list[tuple[str, int]]:
    """Return the addresses and ports on the engine's machine that one of a container's ports is published at."""
    bindings = (details["NetworkSettings"].get("Ports") or {}).get(f"{port}/{protocol}") or []
    return [(binding["HostIp"], int(binding["HostPort"])) for binding in bindings]


def find_gateway_problem(container_id: str) -> str:
    """Return the problem of a running gateway; empty if it serves, or cannot be reached from here.

    This requests its published address, and asks the engine whether one of its processes is stopped, which tells also
    where the address cannot be requested.
    """
    details = inspect_container(container_id)
    if details is None or not details["State"]["Running"] or details["State"]["Paused"]:
        return ""
    with engine.docker_errors():
        if envoy.has_stopped_process(engine.client().containers.get(container_id)):
            return "a process of Envoy is stopped"
    endpoints = [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in published_addresses(details)]
    return (
        "it does not answer" if engine.is_local() and endpoints and not any(map(ports.answers_http, endpoints)) else ""
    )


def _check_listen_address(container: Any, spec: GatewaySpec) -> None:
    """Raise SlipwayError if the engine published the gateway at another address; the caller removes the gateway."""
    container.reload()
    for port, protocol, bind in (
        (LISTEN_PORT, "tcp", spec.bind),
        (TLS_PORT, "tcp", spec.bind),
        (TLS_PORT, "udp", spec.bind),
        (METRICS_PORT, "tcp", LOOPBACK),
    ):
        addresses = published_addresses(container.attrs, port, protocol)
        elsewhere = [ip for ip, _ in addresses if not is_same_address(ip, bind)]
        if not elsewhere:
            continue
        raise SlipwayError(
            f"the gateway should listen on {bind}, but the engine published it on {', '.join(elsewhere)}, "
            "so it was stopped at once",
            remedy="Set `bind` under [gateway] in workspace.toml to an address that this engine can listen on.",
        )


def _listen_error(spec: GatewaySpec, error: BaseException) -> SlipwayError | None:
    text = str(error)
    if "cannot assign requested address" in text:
        return SlipwayError(
            f"{spec.bind} is not an address of the engine's machine, so the gateway cannot listen there",
            remedy="Set `bind` under [gateway] in workspace.toml to one of its addresses, such as 127.0.0.1.",
        )
    if "port is already allocated" not in text and "address already in use" not in text:
        return None
    for port, key in ((spec.tls_port, "tls-port"), (spec.metrics_port, "metrics-port")):
        if port and re.search(rf":{port}\b", text):
            return port_taken_error(spec.bind, port, spec.stack, key)
    return port_taken_error(spec.bind, spec.port, spec.stack)


def port_taken_error(bind: str, port: int, stack: str, key: str = "port") -> SlipwayError:
    holder = ports.find_port_holder(port)
    setting = describe_port_setting(stack) if key == "port" else describe_port_setting(stack, key=key)
    return SlipwayError(
        f"port {port} at {bind} is taken" + (f" by {holder}" if holder else ""),
        remedy=f"Free it, or set another port: {setting}.",
    )


def _parse_route(route_inputs: Mapping[str, Any], canary: Mapping[str, Any] | None = None) -> Route:
    limits = {key: route_inputs[key] for key in ("body", "connect", "idle") if key in route_inputs}
    for key in limits.keys() - {"body"}:
        limits[key] = int(limits[key])  # Pulumi's numbers are floats
    return Route(
        route_inputs["service"],
        route_inputs["route"],
        route_inputs["upstream"],
        RequestLimits(**limits),
        route_inputs.get("health", ""),
        _parse_rules(route_inputs),
        route_inputs.get("protocol", "http"),
        CanaryShare(str(canary["upstream"]), int(canary["percent"])) if canary else None,
    )


def _parse_rules(route_inputs: Mapping[str, Any]) -> RouteSettings | None:
    """Return the rules of a route; None without any.

    Raises:
        ConfigError: they are none.
    """
    rules = route_inputs.get("rules")
    if not rules:
        return None
    try:
        return convert({**rules, "path": route_inputs["route"]}, RouteSettings, strict=False)
    except ParseError as error:
        raise ConfigError(f"service {route_inputs['service']} has rules that cannot be read: {error}") from error
