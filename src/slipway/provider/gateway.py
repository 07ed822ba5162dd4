"""`slipway:docker:Gateway`: the one way in, an NGINX that changes routes without dropping a request."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from slipway.commands.nginx import LISTEN, Route, config
from slipway.model.addresses import BIND_REMEDY, bind_problem, in_url, same_address
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.gateway import RequestLimits
from slipway.model.origins import port_setting
from slipway.provider import drain, files, nginx
from slipway.provider.container import LOG_LIMIT, RESTART, drift, inspect, refuse_of_copy
from slipway.provider.hardened import hardened, where_there_is_an_init
from slipway.provider.images import pull
from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.ownership import (
    labels_of,
    name_conflict,
    refuse_beside_others,
    refuse_foreign_volume,
    remove_left_behind,
)
from slipway.provider.report import failure
from slipway.provider.values import Props, holds_unknown
from slipway.run import engine, ports

SERVICE = ALIAS = nginx.SERVICE
USER = "65532:65532"
OLDEST_API = "1.41"  # of Docker 20.10
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound to
IN_PLACE = frozenset({"routes", "drainSeconds"})
REPLACE_SECONDS = 10  # that requests in flight have where another gateway waits for the port


@dataclass(frozen=True)
class Wanted:
    """The gateway's inputs. It listens at `bind:port` of the engine's machine."""

    workspace: str
    stack: str
    image: str
    network: str
    bind: str
    port: int
    routes: tuple[Route, ...]

    @classmethod
    def of(cls, inputs: Props) -> Wanted:
        fixed = {key: inputs[key] for key in ("workspace", "stack", "image", "network", "bind", "port")}
        routes = tuple(_route(each) for each in inputs["routes"])
        return cls(**fixed, routes=routes)

    @property
    def name(self) -> str:
        return f"{self.workspace}-{self.stack}-{SERVICE}"

    @property
    def config(self) -> str:
        return config(self.routes, drain_seconds=nginx.CUT_SECONDS)


class Gateway(Kind):
    """A long-lived NGINX: routes change by a reload; all else by a replacement that frees the port first."""

    required = ("workspace", "stack", "image", "network", "port", "routes")
    defaults = {"bind": "127.0.0.1", "drainSeconds": 30}
    computed = ("containerName", "containerId", "imageId", "url")

    def __init__(self) -> None:
        self._replacing: set[str] = set()

    def problems(self, inputs: Props) -> list[tuple[str, str]]:
        bind, port = inputs.get("bind"), inputs.get("port")
        if not holds_unknown(bind) and (problem := bind_problem(str(bind))):
            return [("bind", f"{bind!r} {problem}. {BIND_REMEDY}")]
        if not holds_unknown(port) and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536):
            return [("port", f"{port!r} is no port: 1 to 65535")]
        if holds_unknown(inputs):
            return []
        try:
            config(Wanted.of(inputs).routes, drain_seconds=0)
        except (ConfigError, KeyError, TypeError) as error:
            return [("routes", str(error))]
        return []

    def foresee(self, inputs: Props) -> Props:
        bind, port = inputs["bind"], inputs["port"]
        known = {} if holds_unknown([bind, port]) else {"url": url(bind, port)}
        return {**super().foresee(inputs), **known}

    def diff(self, old: State, news: Props) -> Diff:
        changed = changed_keys(old.inputs, news)
        replaces = [key for key in changed if key not in IN_PLACE]
        # Pulumi also asks with unknown inputs, to see what goes with a network that has to be replaced.
        _make_sure_of(news, changed)
        if not replaces and (lost := drift(old) or _gateway_drift(old, news)):
            changed, replaces = [*changed, lost], [lost] if lost != RESTART else []
        elif not changed and not holds_unknown(news) and not _serves(old, Wanted.of(news).config):
            changed = ["routes"]  # changed by hand, or this version of Slipway writes it differently
        if replaces:
            self._replacing.add(old.id)
        return Diff(changed, replaces, delete_first=True)

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        return where_there_is_an_init(lambda: self._create(urn, inputs, stop))

    def _create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        wanted = Wanted.of(inputs)
        refuse_beside_others(wanted.workspace, wanted.stack, urn)
        with engine.speaking():
            image = pull(wanted.image, stop)
            remove_left_behind(wanted.name, urn)
            refuse_foreign_volume(engine.volume(wanted.name, engine.CONFIG), urn)
            container = None
            try:
                container = engine.client().containers.create(wanted.image, **options(wanted, urn))
                files.put(container, nginx.FOLDER, {nginx.LIVE: wanted.config})
                container.start()
                _make_sure_where(container, wanted)
                nginx.wait_started(container, stop)
                container.update(restart_policy=engine.RESTART)
            except BaseException as error:
                told: BaseException = (
                    name_conflict(wanted.name, error)
                    or _port_taken(wanted, error)
                    or failure(SERVICE, container, error)
                )
                if container is not None:  # by its id: whoever else has the name keeps it
                    with suppress(SlipwayError):
                        engine.remove(container.id, name=wanted.name)
                raise told from error
        return Real(container.id, self._outputs(inputs, container.id, image.id))

    def update(self, old: State, news: Props, stop: Stop) -> Props:
        wanted = Wanted.of(news)
        with engine.speaking():
            container = engine.client().containers.get(old.id)
            container.update(restart_policy=engine.RESTART)
            nginx.switch(container, wanted.config, stop)
        return self._outputs(news, old.id, old.outputs["imageId"])

    def read(self, old: State) -> Real:
        return Real(old.id, old.outputs) if inspect(old.id) else Real("")

    def delete(self, old: State, stop: Stop) -> None:
        refuse_of_copy(old)
        seconds = int(old.inputs.get("drainSeconds", self.defaults["drainSeconds"]))
        if old.id in self._replacing:  # nothing is served until the new one has the port
            seconds = min(seconds, REPLACE_SECONDS)
        name = old.outputs.get("containerName", "")
        drain.interruptibly(lambda: engine.remove(old.id, name=name, grace=seconds), stop)

    def _outputs(self, inputs: Props, container_id: str, image_id: str) -> Props:
        address = url(inputs["bind"], inputs["port"])
        name = Wanted.of(inputs).name
        known = {"containerName": name, "containerId": container_id, "imageId": image_id, "url": address}
        return {**self.public(inputs), **known}


def options(wanted: Wanted, urn: str) -> dict[str, Any]:
    """Return how the engine is asked for the gateway's container."""
    types = engine.sdk().types
    labels = labels_of(wanted.workspace, wanted.stack, SERVICE, urn)
    volume = types.Mount(
        nginx.FOLDER, engine.volume(wanted.name, engine.CONFIG), type="volume", labels=labels, no_copy=True
    )
    return {
        **hardened(),
        "name": wanted.name,
        "labels": labels,
        "user": USER,
        "entrypoint": nginx.command(nginx.LIVE, "-g", "daemon off;"),
        "command": [],
        "stop_signal": "SIGQUIT",  # NGINX ends requests in flight on QUIT and cuts them on TERM
        "network": wanted.network,
        "networking_config": {wanted.network: types.EndpointConfig(OLDEST_API, aliases=[ALIAS])},
        "ports": {f"{LISTEN}/tcp": (wanted.bind, wanted.port)},
        "mounts": [volume],
        "log_config": types.LogConfig(type="json-file", config=LOG_LIMIT),
    }


def url(bind: str, port: int) -> str:
    """Return where the gateway is reached: on the engine's machine, or here when that is this one."""
    if bind in ANYWHERE:
        address = engine.address()
        host = (urlsplit(address).hostname if address.startswith(("ssh://", "tcp://")) else None) or "localhost"
    else:
        host = bind
    return f"http://{in_url(host, port)}"


def _gateway_drift(old: State, news: Props) -> str:
    """Return the output that no longer holds where the gateway hangs, or listens elsewhere than it should."""
    real = inspect(old.id)
    addresses = published(real) if real else []
    if not holds_unknown(news["bind"]) and any(not same_address(ip, news["bind"]) for ip, _ in addresses):
        return "url"
    return "containerId" if problem_of(old.id) else ""


def _route(given: Props) -> Route:
    limits = {key: given[key] for key in ("body", "connect", "idle") if key in given}
    for key in limits.keys() - {"body"}:
        limits[key] = int(limits[key])  # Pulumi's numbers are floats
    return Route(given["service"], given["route"], given["upstream"], RequestLimits(**limits))


def problem_of(container_id: str) -> str:
    """Return what is wrong with a gateway that runs, in words; nothing where it serves or cannot be asked from here.

    It is asked where it is published, and the engine whether one of its processes has been stopped: NGINX's workers
    answer without their master, which then takes up no new routes.
    """
    real = inspect(container_id)
    if real is None or not real["State"]["Running"] or real["State"]["Paused"]:
        return ""
    with engine.speaking():
        if nginx.is_stopped(engine.client().containers.get(container_id)):
            return "a process of NGINX is stopped"
    asked = [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in published(real)]
    return "it does not answer" if engine.is_here() and asked and not any(map(ports.answers_http, asked)) else ""


def _make_sure_where(container: Any, wanted: Wanted) -> None:
    """Refuse a gateway that the engine has let listen elsewhere than it was told to: who called it removes it."""
    container.reload()
    elsewhere = [ip for ip, _ in published(container.attrs) if not same_address(ip, wanted.bind)]
    if elsewhere:
        raise SlipwayError(
            f"told to listen on {wanted.bind}, the engine listens on {', '.join(elsewhere)}: it was ended at once",
            remedy="Set `bind` under [gateway] in workspace.toml to an address that this engine can listen on.",
        )


def published(real: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the addresses and ports of the engine's machine where a container is reached, as the engine has them."""
    found = (real["NetworkSettings"].get("Ports") or {}).get(f"{LISTEN}/tcp") or []
    return [(each["HostIp"], int(each["HostPort"])) for each in found]


def _serves(old: State, wanted: str) -> bool:
    """Whether the gateway has this configuration, and keeps connections."""
    with engine.speaking():
        container = engine.client().containers.get(old.id)
        return nginx.live_config(container) == wanted and not nginx.left_closing(container)


def _make_sure_of(news: Props, changed: Collection[str]) -> None:
    """Refuse a replacement that would fail when the old gateway is gone already, and nothing would serve."""
    with engine.speaking():
        if "port" in changed and not holds_unknown(news["port"]) and ports.taken(news["bind"], news["port"]):
            raise _taken(news["bind"], news["port"], news["stack"])
        if "image" in changed and not holds_unknown(news["image"]):
            pull(news["image"], Stop())


def _port_taken(wanted: Wanted, error: BaseException) -> SlipwayError | None:
    text = str(error)
    if "cannot assign requested address" in text:
        return SlipwayError(
            f"{wanted.bind} is no address of the engine's machine, so the gateway cannot listen there",
            remedy="Set `bind` under [gateway] in workspace.toml to one that it has: 127.0.0.1 for itself alone.",
        )
    return (
        _taken(wanted.bind, wanted.port, wanted.stack)
        if "port is already allocated" in text or "address already in use" in text
        else None
    )


def _taken(bind: str, port: int, stack: str) -> SlipwayError:
    by = ports.holder(port)
    return SlipwayError(
        f"port {port} at {bind} is taken" + (f" by {by}" if by else ""),
        remedy=f"Free it, or set another port: {port_setting(stack)}.",
    )
