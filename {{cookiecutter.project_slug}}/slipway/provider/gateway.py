"""`slipway:docker:Gateway`: the one way in, an NGINX that changes routes without dropping a request."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from slipway.commands.nginx import LISTEN, Route, config
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.gateway import RequestLimits
from slipway.model.origins import port_setting
from slipway.provider import drain, files, nginx
from slipway.provider.container import LOG_LIMIT, drift, inspect, labels_of
from slipway.provider.hardened import hardened, where_there_is_an_init
from slipway.provider.images import pull
from slipway.provider.kind import Diff, Kind, Real, State, Stop, changed_keys
from slipway.provider.report import failure
from slipway.provider.values import Props, holds_unknown
from slipway.run import engine, ports

SERVICE = ALIAS = nginx.SERVICE
USER = "65532:65532"
OLDEST_API = "1.41"  # of Docker 20.10
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
        if not replaces and (lost := drift(old)):
            changed, replaces = [*changed, lost], [lost]
        elif not changed and not holds_unknown(news) and not _serves(old, Wanted.of(news).config):
            changed = ["routes"]  # changed by hand, or this version of Slipway writes it differently
        if replaces:
            self._replacing.add(old.id)
        return Diff(changed, replaces, delete_first=True)

    def create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        return where_there_is_an_init(lambda: self._create(urn, inputs, stop))

    def _create(self, urn: str, inputs: Props, stop: Stop) -> Real:
        wanted = Wanted.of(inputs)
        with engine.speaking():
            image = pull(wanted.image, stop)
            _clear_left_behind(wanted)
            container = None
            try:
                container = engine.client().containers.create(wanted.image, **options(wanted, urn))
                files.put(container, nginx.FOLDER, {nginx.LIVE: wanted.config})
                container.start()
                nginx.wait_started(container, stop)
                container.update(restart_policy={"Name": "unless-stopped"})
            except BaseException as error:
                told = _port_taken(wanted, error) or failure(SERVICE, container, error)
                with suppress(SlipwayError):
                    engine.remove(wanted.name)
                raise told from error
        return Real(container.id, self._outputs(inputs, container.id, image.id))

    def update(self, old: State, news: Props, stop: Stop) -> Props:
        wanted = Wanted.of(news)
        with engine.speaking():
            container = engine.client().containers.get(old.id)
            nginx.switch(container, wanted.config, stop)
        return self._outputs(news, old.id, old.outputs["imageId"])

    def read(self, old: State) -> Real:
        return Real(old.id, old.outputs) if inspect(old.id) else Real("")

    def delete(self, old: State, stop: Stop) -> None:
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
    address = engine.address()
    remote = urlsplit(address).hostname if address.startswith(("ssh://", "tcp://")) else None
    anywhere = bind in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound to
    host = (remote or "localhost") if anywhere else bind
    return f"http://{host}" if port == 80 else f"http://{host}:{port}"


def _route(given: Props) -> Route:
    limits = {key: given[key] for key in ("body", "connect", "idle") if key in given}
    for key in limits.keys() - {"body"}:
        limits[key] = int(limits[key])  # Pulumi's numbers are floats
    return Route(given["service"], given["route"], given["upstream"], RequestLimits(**limits))


def _serves(old: State, wanted: str) -> bool:
    """Whether the gateway has this configuration, and keeps connections."""
    with engine.speaking():
        container = engine.client().containers.get(old.id)
        return nginx.live_config(container) == wanted and not nginx.left_closing(container)


def _clear_left_behind(wanted: Wanted) -> None:
    """Remove a gateway that a killed deployment made, or that the state has lost: it holds name and port."""
    for each in engine.containers(wanted.workspace, wanted.stack):
        if each.name == wanted.name:
            engine.remove(each.id)


def _make_sure_of(news: Props, changed: Collection[str]) -> None:
    """Refuse a replacement that would fail when the old gateway is gone already, and nothing would serve."""
    with engine.speaking():
        if "port" in changed and not holds_unknown(news["port"]) and ports.taken(news["bind"], news["port"]):
            raise _taken(news["bind"], news["port"], news["stack"])
        if "image" in changed and not holds_unknown(news["image"]):
            pull(news["image"], Stop())


def _port_taken(wanted: Wanted, error: BaseException) -> SlipwayError | None:
    text = str(error)
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
