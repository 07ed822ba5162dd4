"""`slipway:docker:Gateway`: the one way in, an NGINX that changes routes without dropping a request."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from slipway._internal.commands.nginx import LISTEN_PORT, Route, render_config
from slipway._internal.model.addresses import BIND_REMEDY, bind_problem, is_same_address, url_authority
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.request_limits import RequestLimits
from slipway._internal.model.setting_sources import describe_port_setting
from slipway._internal.provider.container import (
    LOG_ROTATION,
    RESTART_POLICY_DRIFT,
    find_drift,
    inspect_container,
    refuse_copied_container,
)
from slipway._internal.provider.handler import (
    ActualState,
    CancellationToken,
    Diff,
    ResourceHandler,
    ResourceState,
    changed_keys,
)
from slipway._internal.provider.ownership import (
    name_conflict_error,
    object_labels,
    refuse_foreign_objects,
    refuse_foreign_volume,
    remove_orphaned_container,
)
from slipway._internal.provider.values import Props, contains_unknown
from slipway._internal.rollout import container_files, drain, nginx
from slipway._internal.rollout.hardening import hardened_settings, with_init_fallback
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.start_failure import explain_start_failure
from slipway._internal.run import engine, ports

GATEWAY = NETWORK_ALIAS = nginx.GATEWAY
USER = "65532:65532"
MIN_API_VERSION = "1.41"  # of Docker 20.10
WILDCARD_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound to
UPDATED_IN_PLACE = frozenset({"routes", "drainSeconds"})
REPLACE_GRACE_SECONDS = 10  # that requests in flight have where another gateway waits for the port


@dataclass(frozen=True)
class GatewaySpec:
    """The gateway's inputs. It listens at `bind:port` of the engine's machine."""

    workspace: str
    stack: str
    image: str
    network: str
    bind: str
    port: int
    routes: tuple[Route, ...]

    @classmethod
    def from_inputs(cls, inputs: Props) -> GatewaySpec:
        fixed = {key: inputs[key] for key in ("workspace", "stack", "image", "network", "bind", "port")}
        routes = tuple(_parse_route(route) for route in inputs["routes"])
        return cls(**fixed, routes=routes)

    @property
    def name(self) -> str:
        return f"{self.workspace}-{self.stack}-{GATEWAY}"

    @property
    def config(self) -> str:
        return render_config(self.routes, drain_seconds=nginx.WORKER_SHUTDOWN_SECONDS)


class GatewayHandler(ResourceHandler):
    """A long-lived NGINX: routes change by a reload; all else by a replacement that frees the port first."""

    required = ("workspace", "stack", "image", "network", "port", "routes")
    defaults = {"bind": "127.0.0.1", "drainSeconds": 30}
    computed = ("containerName", "containerId", "imageId", "url")

    def __init__(self) -> None:
        self._replacing: set[str] = set()

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        bind, port = inputs.get("bind"), inputs.get("port")
        if not contains_unknown(bind) and (problem := bind_problem(str(bind))):
            return [("bind", f"{bind!r} {problem}. {BIND_REMEDY}")]
        if not contains_unknown(port) and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536):
            return [("port", f"{port!r} is no port: 1 to 65535")]
        if contains_unknown(inputs):
            return []
        try:
            render_config(GatewaySpec.from_inputs(inputs).routes, drain_seconds=0)
        except (ConfigError, KeyError, TypeError) as error:
            return [("routes", str(error))]
        return []

    def preview_outputs(self, inputs: Props) -> Props:
        bind, port = inputs["bind"], inputs["port"]
        known_url = {} if contains_unknown([bind, port]) else {"url": gateway_url(bind, port)}
        return {**super().preview_outputs(inputs), **known_url}

    def diff(self, old: ResourceState, news: Props) -> Diff:
        changed = changed_keys(old.inputs, news)
        replaces = [key for key in changed if key not in UPDATED_IN_PLACE]
        # Pulumi also asks with unknown inputs, to see what goes with a network that has to be replaced.
        _check_replacement(news, changed)
        if not replaces and (drifted_key := find_drift(old) or _find_gateway_drift(old, news)):
            changed, replaces = [*changed, drifted_key], [drifted_key] if drifted_key != RESTART_POLICY_DRIFT else []
        elif (
            not changed and not contains_unknown(news) and not _serves_config(old, GatewaySpec.from_inputs(news).config)
        ):
            changed = ["routes"]  # changed by hand, or this version of Slipway writes it differently
        if replaces:
            self._replacing.add(old.id)
        return Diff(changed, replaces, delete_before_replace=True)

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        return with_init_fallback(lambda: self._create(urn, inputs, cancellation))

    def _create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        spec = GatewaySpec.from_inputs(inputs)
        refuse_foreign_objects(spec.workspace, spec.stack, urn)
        with engine.docker_errors():
            image = pull_image(spec.image, cancellation)
            remove_orphaned_container(spec.name, urn)
            refuse_foreign_volume(engine.volume_name(spec.name, engine.CONFIG_VOLUME), urn)
            container = None
            try:
                container = engine.client().containers.create(spec.image, **gateway_options(spec, urn))
                container_files.put_files(container, nginx.CONFIG_DIR, {nginx.LIVE_CONFIG: spec.config})
                container.start()
                _check_listen_address(container, spec)
                nginx.wait_until_started(container, cancellation)
                container.update(restart_policy=engine.RESTART_POLICY)
            except BaseException as error:
                start_error: BaseException = (
                    name_conflict_error(spec.name, error)
                    or _listen_error(spec, error)
                    or explain_start_failure(GATEWAY, container, error)
                )
                if container is not None:  # by its id: whoever else has the name keeps it
                    with suppress(SlipwayError):
                        engine.remove_container(container.id, name=spec.name)
                raise start_error from error
        return ActualState(container.id, self._outputs(inputs, container.id, image.id))

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        spec = GatewaySpec.from_inputs(news)
        with engine.docker_errors():
            container = engine.client().containers.get(old.id)
            container.update(restart_policy=engine.RESTART_POLICY)
            nginx.switch_config(container, spec.config, cancellation)
        return self._outputs(news, old.id, old.outputs["imageId"])

    def read(self, old: ResourceState) -> ActualState:
        return ActualState(old.id, old.outputs) if inspect_container(old.id) else ActualState("")

    def delete(self, old: ResourceState, cancellation: CancellationToken) -> None:
        refuse_copied_container(old)
        seconds = int(old.inputs.get("drainSeconds", self.defaults["drainSeconds"]))
        if old.id in self._replacing:  # nothing is served until the new one has the port
            seconds = min(seconds, REPLACE_GRACE_SECONDS)
        name = old.outputs.get("containerName", "")
        drain.run_interruptibly(lambda: engine.remove_container(old.id, name=name, grace=seconds), cancellation)

    def _outputs(self, inputs: Props, container_id: str, image_id: str) -> Props:
        address = gateway_url(inputs["bind"], inputs["port"])
        name = GatewaySpec.from_inputs(inputs).name
        computed = {"containerName": name, "containerId": container_id, "imageId": image_id, "url": address}
        return {**self.public_inputs(inputs), **computed}


def gateway_options(spec: GatewaySpec, urn: str) -> dict[str, Any]:
    """Return how the engine is asked for the gateway's container."""
    types = engine.load_sdk().types
    labels = object_labels(spec.workspace, spec.stack, GATEWAY, urn)
    volume = types.Mount(
        nginx.CONFIG_DIR,
        engine.volume_name(spec.name, engine.CONFIG_VOLUME),
        type="volume",
        labels=labels,
        no_copy=True,
    )
    return {
        **hardened_settings(),
        "name": spec.name,
        "labels": labels,
        "user": USER,
        "entrypoint": nginx.nginx_command(nginx.LIVE_CONFIG, "-g", "daemon off;"),
        "command": [],
        "stop_signal": "SIGQUIT",  # NGINX ends requests in flight on QUIT and cuts them on TERM
        "network": spec.network,
        "networking_config": {spec.network: types.EndpointConfig(MIN_API_VERSION, aliases=[NETWORK_ALIAS])},
        "ports": {f"{LISTEN_PORT}/tcp": (spec.bind, spec.port)},
        "mounts": [volume],
        "log_config": types.LogConfig(type="json-file", config=LOG_ROTATION),
    }


def gateway_url(bind: str, port: int) -> str:
    """Return where the gateway is reached: on the engine's machine, or here when that is this one."""
    if bind in WILDCARD_ADDRESSES:
        address = engine.address()
        host = (urlsplit(address).hostname if address.startswith(("ssh://", "tcp://")) else None) or "localhost"
    else:
        host = bind
    return f"http://{url_authority(host, port)}"


def _find_gateway_drift(old: ResourceState, news: Props) -> str:
    """Return the output that no longer holds where the gateway hangs, or listens elsewhere than it should."""
    details = inspect_container(old.id)
    addresses = published_addresses(details) if details else []
    if not contains_unknown(news["bind"]) and any(not is_same_address(ip, news["bind"]) for ip, _ in addresses):
        return "url"
    return "containerId" if find_gateway_problem(old.id) else ""


def _parse_route(route_inputs: Props) -> Route:
    limits = {key: route_inputs[key] for key in ("body", "connect", "idle") if key in route_inputs}
    for key in limits.keys() - {"body"}:
        limits[key] = int(limits[key])  # Pulumi's numbers are floats
    return Route(route_inputs["service"], route_inputs["route"], route_inputs["upstream"], RequestLimits(**limits))


def find_gateway_problem(container_id: str) -> str:
    """Return what is wrong with a gateway that runs, in words; nothing where it serves or cannot be asked from here.

    It is asked where it is published, and the engine whether one of its processes has been stopped: NGINX's workers
    answer without their master, which then takes up no new routes.
    """
    details = inspect_container(container_id)
    if details is None or not details["State"]["Running"] or details["State"]["Paused"]:
        return ""
    with engine.docker_errors():
        if nginx.has_stopped_process(engine.client().containers.get(container_id)):
            return "a process of NGINX is stopped"
    endpoints = [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in published_addresses(details)]
    return (
        "it does not answer" if engine.is_local() and endpoints and not any(map(ports.answers_http, endpoints)) else ""
    )


def _check_listen_address(container: Any, spec: GatewaySpec) -> None:
    """Refuse a gateway that the engine has let listen elsewhere than it was told to: who called it removes it."""
    container.reload()
    elsewhere = [ip for ip, _ in published_addresses(container.attrs) if not is_same_address(ip, spec.bind)]
    if elsewhere:
        raise SlipwayError(
            f"told to listen on {spec.bind}, the engine listens on {', '.join(elsewhere)}: it was ended at once",
            remedy="Set `bind` under [gateway] in workspace.toml to an address that this engine can listen on.",
        )


def published_addresses(details: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the addresses and ports of the engine's machine where a container is reached, as the engine has them."""
    bindings = (details["NetworkSettings"].get("Ports") or {}).get(f"{LISTEN_PORT}/tcp") or []
    return [(binding["HostIp"], int(binding["HostPort"])) for binding in bindings]


def _serves_config(old: ResourceState, expected_config: str) -> bool:
    """Whether the gateway has this configuration, and keeps connections."""
    with engine.docker_errors():
        container = engine.client().containers.get(old.id)
        return nginx.read_live_config(container) == expected_config and not nginx.is_keepalive_left_off(container)


def _check_replacement(news: Props, changed: Collection[str]) -> None:
    """Refuse a replacement that would fail when the old gateway is gone already, and nothing would serve."""
    with engine.docker_errors():
        if "port" in changed and not contains_unknown(news["port"]) and ports.is_port_taken(news["bind"], news["port"]):
            raise _port_taken_error(news["bind"], news["port"], news["stack"])
        if "image" in changed and not contains_unknown(news["image"]):
            pull_image(news["image"], CancellationToken())


def _listen_error(spec: GatewaySpec, error: BaseException) -> SlipwayError | None:
    text = str(error)
    if "cannot assign requested address" in text:
        return SlipwayError(
            f"{spec.bind} is no address of the engine's machine, so the gateway cannot listen there",
            remedy="Set `bind` under [gateway] in workspace.toml to one that it has: 127.0.0.1 for itself alone.",
        )
    return (
        _port_taken_error(spec.bind, spec.port, spec.stack)
        if "port is already allocated" in text or "address already in use" in text
        else None
    )


def _port_taken_error(bind: str, port: int, stack: str) -> SlipwayError:
    holder = ports.find_port_holder(port)
    return SlipwayError(
        f"port {port} at {bind} is taken" + (f" by {holder}" if holder else ""),
        remedy=f"Free it, or set another port: {describe_port_setting(stack)}.",
    )
