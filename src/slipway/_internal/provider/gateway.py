"""`slipway:docker:Gateway`: the stack's entry point, an Envoy that changes routes without dropping a connection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from slipway._internal.commands.envoy import BOOTSTRAP, read_maintenance, render_config
from slipway._internal.commands.gateway_options import MaintenanceOptions, parse_options
from slipway._internal.model.addresses import BIND_REMEDY, bind_problem, is_same_address
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.provider.container import RESTART_POLICY_DRIFT, find_drift, refuse_copied_container
from slipway._internal.provider.handler import ActualState, Diff, ResourceHandler, ResourceState, changed_keys
from slipway._internal.provider.values import Props, contains_unknown
from slipway._internal.rollout import drain, envoy
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import inspect_container
from slipway._internal.rollout.gateway import (
    LOOPBACK,
    GatewaySpec,
    clear_secrets,
    create_gateway,
    find_gateway_problem,
    gateway_url,
    has_secrets_folder,
    has_store,
    port_taken_error,
    published_addresses,
    put_secrets,
    refuse_other_image,
)
from slipway._internal.rollout.images import pull_image
from slipway._internal.rollout.ownership import refuse_foreign_objects
from slipway._internal.run import engine, ports

UPDATED_IN_PLACE = frozenset({"routes", "options", "consumers", "canaries", "secrets", "drainSeconds"})
REPLACE_GRACE_SECONDS = 10  # time for requests in flight while the new gateway waits for the port


class GatewayHandler(ResourceHandler):
    """A long-lived Envoy that takes up new routes as it runs; any other change replaces it, after freeing the port."""

    required = ("workspace", "stack", "image", "network", "port", "routes")
    defaults = {"bind": "127.0.0.1", "drainSeconds": 30}
    optional = ("options", "canaries", "tlsPort", "metricsPort", "http3Port")
    secret = ("secrets", "consumers")
    computed = ("containerName", "containerId", "imageId", "url")

    def __init__(self) -> None:
        self._replacing: set[str] = set()
        self._maintenance: dict[str, MaintenanceOptions | None] = {}

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        bind, port = inputs.get("bind"), inputs.get("port")
        if not contains_unknown(bind) and (problem := bind_problem(str(bind))):
            return [("bind", f"{bind!r} {problem}. {BIND_REMEDY}")]
        if not contains_unknown(port) and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536):
            return [("port", f"{port!r} is not a port; use 1 to 65535")]
        if contains_unknown(inputs):
            return []
        key = "options"
        try:
            options = parse_options(inputs.get("options") or {})
            if options.maintenance:
                raise ConfigError("maintenance is no input: it is switched as the gateway runs")
            if options.challenges or (options.acme and options.tls):
                raise ConfigError("what an authority issues is no input: it is served as the gateway runs")
            key = "routes"
            render_config(*GatewaySpec.from_inputs(inputs).table)
        except (ConfigError, KeyError, TypeError) as error:
            return [(key, str(error))]
        return []

    def preview_outputs(self, inputs: Props) -> Props:
        bind, port = inputs["bind"], inputs["port"]
        known_url = {} if contains_unknown([bind, port]) else {"url": gateway_url(bind, port)}
        return {**super().preview_outputs(inputs), **known_url}

    def diff(self, old: ResourceState, news: Props) -> Diff:
        changed = changed_keys(old.inputs, news)
        replaces = [key for key in changed if key not in UPDATED_IN_PLACE]
        # Pulumi also asks with unknown inputs, to see what depends on a network that must be replaced.
        _check_replacement(news, changed)
        if not replaces and (drifted_key := find_drift(old) or _find_gateway_drift(old, news)):
            changed, replaces = [*changed, drifted_key], [drifted_key] if drifted_key != RESTART_POLICY_DRIFT else []
        elif not replaces and not contains_unknown(news):
            live_config = _read_config(old)
            spec = GatewaySpec.from_inputs(news).keeping(live_config)
            expected = spec.config
            # An older version of Slipway made it, or it had a certificate of its own.
            lacks_folder = (bool(spec.secrets) and not _has_folder(old, has_secrets_folder)) or (
                spec.options.acme is not None and not _has_folder(old, has_store)
            )
            # Envoy reads the bootstrap file at its start only.
            if lacks_folder or live_config.get(BOOTSTRAP) != expected[BOOTSTRAP]:
                changed, replaces = [*changed, "containerId"], ["containerId"]
            elif not changed and live_config != expected:
                changed = ["routes"]  # changed by hand, or this version of Slipway writes it differently
        if replaces:
            _refuse_other_image(news)
            self._replacing.add(old.id)
            self._maintenance[old.urn] = _read_maintenance(old)
        return Diff(changed, replaces, delete_before_replace=True)

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        spec = GatewaySpec.from_inputs(inputs).during(self._maintenance.pop(urn, None))
        refuse_foreign_objects(spec.workspace, spec.stack, urn)
        container, image = create_gateway(spec, urn, cancellation)
        return ActualState(container.id, self._outputs(inputs, container.id, image.id))

    def update(self, old: ResourceState, news: Props, cancellation: CancellationToken) -> Props:
        spec = GatewaySpec.from_inputs(news)
        with engine.docker_errors():
            container = engine.client().containers.get(old.id)
            container.update(restart_policy=engine.RESTART_POLICY)
            spec = spec.keeping(envoy.read_live_config(container))
            names = {*_secrets_of(old)}
            put_secrets(container, spec)
            try:
                envoy.switch_config(container, spec.config, cancellation)
            except SlipwayError:
                clear_secrets(container, spec.secrets.keys() - names)
                raise
            clear_secrets(container, names - spec.secrets.keys())
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


def _find_gateway_drift(old: ResourceState, news: Props) -> str:
    """Return the drifted output if the gateway hangs, or listens on the wrong address."""
    details = inspect_container(old.id)
    addresses = published_addresses(details) if details else []
    if not contains_unknown(news["bind"]) and any(not is_same_address(ip, news["bind"]) for ip, _ in addresses):
        return "url"
    return "containerId" if find_gateway_problem(old.id) else ""


def _has_folder(old: ResourceState, has_folder: Callable[[Mapping[str, Any]], bool]) -> bool:
    details = inspect_container(old.id)
    return details is None or has_folder(details)


def _secrets_of(old: ResourceState) -> Collection[str]:
    """Return the names of the secrets that the gateway has."""
    secrets: Collection[str] = old.inputs.get("secrets") or ()
    return secrets


def _read_maintenance(old: ResourceState) -> MaintenanceOptions | None:
    """Return what is in maintenance by a gateway that may be gone, to be kept by the next one."""
    try:
        return read_maintenance(_read_config(old))
    except SlipwayError:
        return None


def _read_config(old: ResourceState) -> dict[str, str]:
    """Return the gateway's live configuration."""
    with engine.docker_errors():
        return envoy.read_live_config(engine.client().containers.get(old.id))


def _check_replacement(news: Props, changed: Collection[str]) -> None:
    """Refuse a replacement that would fail only after the old gateway is gone, when nothing would serve."""
    with engine.docker_errors():
        if "port" in changed and not contains_unknown(news["port"]) and ports.is_port_taken(news["bind"], news["port"]):
            raise port_taken_error(news["bind"], news["port"], news["stack"])
        for name, bind, key in (("tlsPort", news["bind"], "tls-port"), ("metricsPort", LOOPBACK, "metrics-port")):
            port = news.get(name) or 0
            is_new = name in changed and port and not contains_unknown(port)
            if is_new and ports.is_port_taken(bind, port):
                raise port_taken_error(bind, port, news["stack"], key)
        if "image" in changed and not contains_unknown(news["image"]):
            pull_image(news["image"], CancellationToken())


def _refuse_other_image(news: Props) -> None:
    """Refuse a replacement by an image without Envoy, which would leave nothing that serves."""
    if not contains_unknown(news["image"]):
        with engine.docker_errors():
            refuse_other_image(pull_image(news["image"], CancellationToken()), news["stack"])
