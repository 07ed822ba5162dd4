"""The workspace as its files describe it: `workspace.toml`, the services found by their folders, and the libs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from slipway._internal.model import local_settings as locals_
from slipway._internal.model import schedule
from slipway._internal.model.addresses import BIND_REMEDY, bind_problem, builder_problem, registry_problem
from slipway._internal.model.auth import ConsumerSettings, check_consumers, check_known_consumers, with_files
from slipway._internal.model.containers import MEMORY_SIZE, ContainerSettings, ErrorFactory, Seconds, check_container
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.gate_settings import (
    GateLimits,
    LoginSettings,
    RetentionSettings,
    ScanSettings,
    SigningSettings,
)
from slipway._internal.model.gitignore import holds_only_ignored
from slipway._internal.model.local_settings import LocalSettings
from slipway._internal.model.masking import register_secret
from slipway._internal.model.names import DNS_LABEL, LOOPBACK, REGISTRY, RESERVED
from slipway._internal.model.project import Project
from slipway._internal.model.request_limits import Protocol
from slipway._internal.model.route_rules import (
    NO_RULES,
    ServiceGatewaySettings,
    cache_problem,
    check_rules,
    limit_problem,
    with_defaults,
)
from slipway._internal.model.routes import PATH, RouteSettings, check_routes, covers, overlap
from slipway._internal.model.start_order import find_circle
from slipway._internal.model.structured_files import line_of, path_exists, read_toml
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace_path import nearest, refuse_unsafe_path

CACHE_VARIABLE = "SLIPWAY_CACHE"
Port = Annotated[int, Meta(ge=1, le=65535)]
_HEALTH_PATH = re.compile(r"/[!-~]*")
_PLATFORM = re.compile(r"linux/[a-z0-9]+(/[a-z0-9]+)?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYNC_ENTRY = re.compile(r"(?:([^:/]+):)?((?!\.\.?(?:/|$))[^:/]+(?:/(?!\.\.?(?:/|$))[^:/]+)*)")


class GatewaySettings(ServiceGatewaySettings, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Where the gateway listens on the engine's machine, and the rules of services that say none of their own.

    `tls_port` is where it speaks TLS in stacks that have a certificate, and `hsts` the seconds for which browsers shall
    come by HTTPS only; 0: they are not told. `metrics_port` is where its metrics are, on the engine's machine alone.
    """

    port: Port = 8080
    tls_port: Port = 8443
    hsts: Annotated[int, Meta(ge=0, le=63_072_000)] = 0
    metrics_port: Port | None = None
    bind: str = "127.0.0.1"


class SecretSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a build secret's value comes from: a file, an environment variable, or the stack's encrypted configuration.

    `config` is the name of a secret there: `build:NAME`.
    """

    file: str | None = None
    env: str | None = None
    config: str | None = None


CacheMode = Literal["auto", "registry", "read", "off"]
"""Where layers are kept for other machines: beside the images unless the registry is local (`auto`); always there;
there, but read-only for this machine; nowhere."""


class BuildSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How images are built; `builders` names the machine that builds a platform natively: platform → address."""

    platforms: tuple[str, ...] = ("linux/amd64",)
    cache: CacheMode = "auto"
    builders: dict[str, str] = {}
    secrets: dict[str, SecretSource] = {}


class BasesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which base images services start from; `official` names each by digest."""

    source: Literal["auto", "official", "hardened"] = "auto"
    official: dict[str, str] = {}


class WorkspaceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`workspace.toml` as it stands."""

    name: str
    registry: str
    gateway: GatewaySettings = GatewaySettings()
    consumers: dict[str, ConsumerSettings] = {}
    build: BuildSettings = BuildSettings()
    bases: BasesSettings = BasesSettings()
    scan: ScanSettings = ScanSettings()
    signing: SigningSettings = SigningSettings()
    logins: LoginSettings = LoginSettings()
    retention: RetentionSettings = RetentionSettings()
    gate: GateLimits = GateLimits()


class ResourceLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container's limits: memory as Docker writes it (`256m`), processors and GPUs as numbers."""

    memory: str | None = None
    cpus: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    gpu: Annotated[int, Meta(ge=1, le=1000)] | None = None


class ScaleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many instances of a service run: between `min` and `max`, aiming at `cpu` percent of use.

    Without a `max` there are always `min`. A Docker engine runs `min`, whatever the others say.
    """

    min: Annotated[int, Meta(ge=1, le=10_000)] = 1
    max: Annotated[int, Meta(ge=1, le=10_000)] = 0
    cpu: Annotated[int, Meta(ge=1, le=100)] = 70

    def __post_init__(self) -> None:
        if not self.max:
            force_setattr(self, "max", self.min)


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service that runs to its end at the times that `schedule` says, as cron has them."""

    schedule: str


class DevSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service's settings for `invoke dev`.

    `sync` names folders that the image holds just as they are, below its WORKDIR at the same path: `app` of the
    service's own folder, `common:common` of the lib `common`. With `--sync` they are copied instead of built.
    """

    sync: tuple[str, ...] = ()


class TmpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container's /tmp: whether programs may be run from it, and how large it may get (`64m`)."""

    exec: bool = False
    size: str | None = None


class ServiceSettings(ContainerSettings, frozen=True, forbid_unknown_fields=True, rename="kebab", kw_only=True):
    """A `service.toml` as it stands; its other part is in `model/containers.py`.

    `start_timeout` is the seconds that a new container may take to get healthy, where not 60 or the Dockerfile's
    HEALTHCHECK decides; `drain` the seconds that requests in flight have to end when a container goes. `openapi` is the
    path, as callers have it, of the OpenAPI document that says what the service answers.
    """

    kind: str
    route: str | None = None
    routes: tuple[RouteSettings, ...] = ()
    port: Port | None = None
    protocol: Protocol = "http"
    libs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    health: str | None = None
    openapi: str | None = None
    target: str = "run"
    secrets: tuple[str, ...] = ()
    env: dict[str, str] = {}
    args: dict[str, str] = {}
    start_timeout: Seconds | None = None
    drain: Seconds = 30
    tmp: TmpSettings = TmpSettings()
    resources: ResourceLimits = ResourceLimits()
    scale: ScaleSettings = ScaleSettings()
    job: JobSettings | None = None
    dev: DevSettings = DevSettings()
    gateway: ServiceGatewaySettings = NO_RULES


@dataclass(frozen=True)
class Service:
    """One service: its name is its folder's."""

    name: str
    folder: Path
    settings: ServiceSettings
    defaults: ServiceGatewaySettings = NO_RULES
    """The workspace's rules for routes."""

    @property
    def dockerfile(self) -> Path:
        return self.folder / "Dockerfile"

    @property
    def is_built(self) -> bool:
        """Whether its image is built from its Dockerfile; otherwise it runs the one that its file names."""
        return self.settings.image is None

    @property
    def is_stateful(self) -> bool:
        """Whether it has volumes: then it never runs twice at a time."""
        return bool(self.settings.volumes)

    @property
    def is_backing(self) -> bool:
        """Whether it is what others stand on, such as a database: they start only when it is healthy."""
        return self.settings.url is not None or self.is_stateful

    @property
    def routes(self) -> tuple[RouteSettings, ...]:
        """Its routes, in the order of its file; `route` is short for one."""
        settings = self.settings
        return settings.routes if settings.route is None else (RouteSettings(path=settings.route),)

    @property
    def ruled_routes(self) -> tuple[RouteSettings, ...]:
        """Its routes with the rules in force: a route's own, the service's or the workspace's."""
        return tuple(
            with_defaults(route, self.settings.gateway, self.defaults, is_served=route.redirect is None)
            for route in self.routes
        )

    @property
    def main_route(self) -> RouteSettings | None:
        """The first route that leads to the service: people and other services call it by that one."""
        return next((route for route in self.routes if route.redirect is None), None)

    @property
    def takes_requests(self) -> bool:
        """Whether other services can call it."""
        return self.settings.port is not None


@dataclass(frozen=True)
class Workspace:
    """A workspace as its files describe it, checked."""

    root: Path
    settings: WorkspaceSettings
    services: tuple[Service, ...]
    local: LocalSettings = field(default_factory=LocalSettings)

    @staticmethod
    def load(root: Path | None = None) -> Workspace:
        """Read and check the workspace in a folder, or the one around the current folder.

        Raises:
            ConfigError: there is none, or anything in it is wrong.
        """
        return load_workspace(root or find_root())

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def deployed_name(self) -> str:
        """What containers, networks, volumes and namespaces are called after: the name, and this folder's suffix."""
        return f"{self.name}-{self.local.suffix}" if self.local.suffix else self.name

    @property
    def registry(self) -> str:
        return self.settings.registry

    @property
    def local_registry(self) -> bool:
        """Whether the registry is one on this machine, which Slipway itself runs."""
        return LOOPBACK.match(self.registry) is not None

    @cached_property
    def project(self) -> Project:
        """What infra/Pulumi.yaml says; it is read when it is first asked."""
        return Project(self.root, self.name)

    @property
    def scratch(self) -> Path:
        """The folder for logs, build results and local state; git ignores it."""
        return self.root / ".slipway"

    def repository(self, image: str) -> str:
        """Return the repository that holds a service's images in development, and the bases, registry first."""
        return f"{self.registry}/{self.name}/{image}"

    def release_repository(self, service: str, registry: str | None = None) -> str:
        """Return the repository that holds what has passed the gate; `registry` is a stack's own, where it has one."""
        return f"{registry or self.registry}/{self.name}/release/{service}"

    def lib(self, name: str) -> Path:
        return self.root / "libs" / name

    def build_secrets(self, environment: Mapping[str, str]) -> dict[str, SecretSource]:
        """Return the build secrets that have a value now: their file exists, or their variable is set.

        Whether those from a stack's configuration have one is known only when they are read.
        """
        return {
            name: source
            for name, source in self.settings.build.secrets.items()
            if source.config
            or (source.env and environment.get(source.env))
            or (source.file and Path(source.file).expanduser().is_file())
        }

    def cache(self, environment: Mapping[str, str]) -> CacheMode:
        """Return where layers are kept: as workspace.toml says, or SLIPWAY_CACHE for one run.

        Raises:
            ConfigError: the variable is none of the words.
        """
        mode = environment.get(CACHE_VARIABLE) or self.settings.build.cache
        for word in get_args(CacheMode):
            if word == mode:
                return cast(CacheMode, word)
        raise ConfigError(
            f"{CACHE_VARIABLE} is {mode!r}", remedy=f"One of: {', '.join(get_args(CacheMode))}; or leave it unset."
        )

    def service(self, name: str) -> Service:
        """Return a service by name; ConfigError naming those that exist."""
        for service in self.services:
            if service.name == name:
                return service
        raise ConfigError(
            f"there is no service `{name}`",
            remedy="Services here: "
            f"{', '.join(candidate.name for candidate in self.services) or 'none yet; see `invoke new`'}.",
        )

    @property
    def built_services(self) -> tuple[Service, ...]:
        """The services whose images are built here."""
        return tuple(service for service in self.services if service.is_built)

    def select_services(self, names: str | None) -> tuple[Service, ...]:
        """Return the services named in a list with commas, or all without one; ConfigError for an unknown name."""
        return tuple(self.service(name.strip()) for name in names.split(",")) if names else self.services


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above `start` that holds a workspace.toml.

    Raises:
        ConfigError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    if root := nearest(start):
        return root
    raise ConfigError(f"no workspace.toml in {start} or above", remedy="Run this inside a Slipway workspace.")


def load_workspace(root: Path) -> Workspace:
    """Read and check the workspace at `root`.

    Raises:
        ConfigError: anything in it is wrong.
    """
    refuse_unsafe_path(root)
    path = root / "workspace.toml"
    text = read_text(path)
    settings = read_toml(path, WorkspaceSettings, text=text)
    _check_settings(path, text, settings)
    texts: dict[str, str] = {}
    services = tuple(replace(service, defaults=settings.gateway) for service in _load_services(root, texts))
    _check_services(services, texts)
    _check_callers(services, texts, settings.consumers)
    return Workspace(root, settings, services, locals_.load(root))


def _load_services(root: Path, texts: dict[str, str]) -> Iterator[Service]:
    """Yield each service; `texts` gets what its service.toml holds, for the checks that need all services."""
    folders = sorted((root / "services").glob("*/")) if (root / "services").is_dir() else []
    for folder in folders:
        if folder.name.startswith((".", "_")):
            continue
        if not path_exists(folder / "service.toml"):
            if holds_only_ignored(root, folder):
                continue
            raise _missing_service_file(root, folder)
        texts[folder.name] = text = read_text(folder / "service.toml")
        yield _read_service(root, folder.name, folder, text)


def read_service(root: Path, name: str, folder: Path) -> Service:
    """Read and check a service that may be in another folder than its own.

    Raises:
        ConfigError: anything in it is wrong.
    """
    return _read_service(root, name, folder, read_text(folder / "service.toml"))


def _read_service(root: Path, name: str, folder: Path, text: str) -> Service:
    service = Service(name, folder, read_toml(folder / "service.toml", ServiceSettings, text=text))
    _check_service(root, service, text)
    return service


def _missing_service_file(root: Path, folder: Path) -> ConfigError:
    name = folder.relative_to(root)
    return ConfigError(
        f"{folder / 'service.toml'} is missing, and {name} holds files that git does not ignore",
        remedy=f"If it is a service, write the file, or restore it (`git checkout -- {name}/service.toml`). If not, "
        f"remove the folder or move it; one whose name begins with _ or . is passed over.",
    )


def _check_settings(path: Path, text: str, settings: WorkspaceSettings) -> None:
    if not DNS_LABEL.fullmatch(settings.name):
        raise ConfigError(
            f"{path}:{line_of(text, ('name',))}: `name` is {settings.name!r:.80}, which is not a DNS label",
            remedy="Use lower-case letters, digits and dashes, such as `demo` or `team-shop`.",
        )
    _check_addresses(path, text, settings)
    check_consumers(settings.consumers, path, text)

    def refuse(keys: tuple[str, ...], what: str, remedy: str) -> ConfigError:
        return ConfigError(f"{path}:{line_of(text, keys)}: {what}", remedy=remedy)

    check_rules(settings.gateway, ("gateway",), (), refuse)
    build = settings.build
    for keys, platform in [
        *((("build", "platforms"), platform_name) for platform_name in build.platforms),
        *((("build", "builders", platform_name), platform_name) for platform_name in build.builders),
    ]:
        if not _PLATFORM.fullmatch(platform):
            raise ConfigError(
                f"{path}:{line_of(text, keys)}: {platform!r} is not a container platform",
                remedy="Write linux/ARCHITECTURE, such as `linux/amd64` or `linux/arm64`.",
            )
    for platform, address in build.builders.items():
        if problem := builder_problem(address):
            raise ConfigError(
                f"{path}:{line_of(text, ('build', 'builders', platform))}: {address!r:.80} {problem}",
                remedy="Write it as buildx has it: tcp://host:1234, ssh://user@host, unix:///path.",
            )
    for name, source in build.secrets.items():
        if [source.file, source.env, source.config].count(None) != 2:
            raise ConfigError(
                f"{path}:{line_of(text, ('build', 'secrets', name))}: `{name}` needs exactly one of `file`, `env` and "
                f"`config`",
                remedy=f'Write {name} = {{ file = "path" }}, {{ env = "NAME" }} or {{ config = "NAME" }}.',
            )
    for name, ref in settings.bases.official.items():
        if "@sha256:" not in ref:
            raise ConfigError(
                f"{path}:{line_of(text, ('bases', 'official', name))}: base `{name}` is not pinned by digest",
                remedy=f"Write it as {ref}@sha256:… (`docker buildx imagetools inspect {ref}` shows the digest).",
            )


def _check_addresses(path: Path, text: str, settings: WorkspaceSettings) -> None:
    if not REGISTRY.fullmatch(settings.registry):
        raise ConfigError(
            f"{path}:{line_of(text, ('registry',))}: `registry` is {settings.registry!r:.80}, which is not a registry "
            "address",
            remedy="Write host[:port][/path] without a scheme, such as `127.0.0.1:5000` or `ghcr.io/acme`.",
        )
    if problem := registry_problem(settings.registry):
        raise ConfigError(
            f"{path}:{line_of(text, ('registry',))}: the host of `registry`, {settings.registry!r:.80}, {problem}",
            remedy="Write a host's name or its whole IP address: `127.0.0.1:5000`, `[::1]:5000`, `ghcr.io/acme`.",
        )
    if problem := bind_problem(settings.gateway.bind):
        raise ConfigError(
            f"{path}:{line_of(text, ('gateway', 'bind'))}: `bind` is {settings.gateway.bind!r:.80}, which {problem}",
            remedy=BIND_REMEDY,
        )


def _check_service(root: Path, service: Service, text: str) -> None:
    path = service.folder / "service.toml"
    settings = service.settings

    def refuse(keys: tuple[str, ...], what: str, remedy: str) -> ConfigError:
        return ConfigError(f"{path}:{line_of(text, keys)}: {what}", remedy=remedy)

    if not DNS_LABEL.fullmatch(service.name):
        raise ConfigError(
            f"{service.folder}: `{service.name}` is not a DNS label, so it cannot name a service",
            remedy="Rename the folder: lower-case letters, digits and dashes, at most 40 characters.",
        )
    if RESERVED.match(service.name):
        raise ConfigError(
            f"{service.folder}: `{service.name}` is a name that Slipway uses itself, for its gateway and bases",
            remedy="Rename the folder.",
        )
    _check_requests(settings, refuse)
    for table, key, amount in (
        ("resources", "memory", settings.resources.memory),
        ("tmp", "size", settings.tmp.size),
    ):
        if amount is not None and not MEMORY_SIZE.fullmatch(amount):
            raise refuse((table, key), f"`{key}` is {amount!r}", "Write a whole number and k, m or g: `256m`.")
    for key, names in (
        ("secrets", settings.secrets),
        ("generated", settings.generated),
        ("env", settings.env),
        ("args", settings.args),
    ):
        for name in names:
            if _ENV_NAME.fullmatch(name):
                continue
            raise refuse(
                (key,),
                f"`{name}` is not a variable name",
                "Use letters, digits and underscores: `API_TOKEN`.",
            )
    for lib in settings.libs:
        folder = root / "libs" / lib
        if not folder.is_dir() or (any(folder.iterdir()) and holds_only_ignored(root, folder)):
            known_libs = ", ".join(lib_folder.name for lib_folder in sorted((root / "libs").glob("*/"))) or "none"
            raise refuse(("libs",), f"there is no lib `{lib}`", f"Libs here (folders under libs/): {known_libs}.")
    for entry in settings.dev.sync:
        found = _SYNC_ENTRY.fullmatch(entry)
        if not found or (found[1] and found[1] not in settings.libs):
            raise refuse(
                ("dev", "sync"),
                f"`sync` names {entry!r}",
                "Name a folder of the service (`app`), or of a lib that it uses (`common:common`), without . and ...",
            )
    check_container(settings, settings.secrets, refuse)
    _check_runtime(settings, refuse)
    _check_image(service, refuse)


def _check_image(service: Service, refuse: ErrorFactory) -> None:
    """Refuse a service that has neither an image nor a Dockerfile, or both."""
    settings = service.settings
    if settings.image is None:
        if not service.dockerfile.is_file():
            raise ConfigError(
                f"{service.dockerfile} is missing",
                remedy="Copy another service's, or that of a new one: `invoke new NAME --kind KIND`. Or run an image "
                'that is there already: image = "REPOSITORY@sha256:DIGEST" in service.toml.',
            )
        return
    if service.dockerfile.is_file():
        raise refuse(
            ("image",), f"the service has an `image`, and {service.dockerfile.name} beside it", "Remove one of the two."
        )
    build_settings = {
        ("libs",): settings.libs,
        ("args",): settings.args,
        ("dev", "sync"): settings.dev.sync,
        ("target",): settings.target != "run",
    }
    for keys, value in build_settings.items():
        if value:
            raise refuse(keys, f"`{keys[-1]}` is for building, but the service has an `image`", f"Remove `{keys[-1]}`.")


def _check_requests(settings: ServiceSettings, refuse: ErrorFactory) -> None:
    check_rules(settings.gateway, ("gateway",), (), refuse)
    has_routes = settings.route is not None or bool(settings.routes)
    if settings.gateway != NO_RULES and not has_routes:
        raise refuse(
            ("gateway",), "a service without a `route` has no [gateway]", "Give it a `route`, or remove the table."
        )
    if settings.route is not None and not PATH.fullmatch(settings.route):
        raise refuse(
            ("route",),
            f"`route` is {settings.route!r}",
            "A route starts with / and has no / at its end: `/api`.",
        )
    if settings.route is not None and settings.routes:
        raise refuse(
            ("route",), "the service has `route` and [[routes]]", "Leave one: `route` is the `path` of a first table."
        )
    check_routes(settings.routes, refuse)
    if has_routes and settings.port is None:
        keys = ("routes", "0") if settings.routes else ("route",)
        raise refuse(keys, "a service with a route needs a `port`", "Add the port it listens on: port = 8000.")
    if settings.protocol != "http" and (settings.port is None or settings.health is not None):
        without = "and there is no `port`" if settings.port is None else "so no path of it can be asked by `health`"
        raise refuse(
            ("protocol",),
            f"`protocol` is {settings.protocol}, {without}",
            "Add the port that it listens on, and let the Dockerfile's HEALTHCHECK say whether it is healthy.",
        )
    if settings.health is not None and not (settings.port and _HEALTH_PATH.fullmatch(settings.health)):
        raise refuse(
            ("health",),
            f"`health` is {settings.health!r}" + ("" if settings.port else ", and there is no `port` to request it at"),
            'Write the path that answers 200 while the service is healthy, such as "/health"; it needs a `port`.',
        )
    paths = [route.path for route in settings.routes if not route.redirect]
    paths += [settings.route] if settings.route else []
    if settings.openapi is not None and not any(covers(path, settings.openapi) for path in paths):
        raise refuse(
            ("openapi",),
            f"`openapi` is {settings.openapi!r:.80}, which no route of the service answers",
            'Write the path of the OpenAPI document as callers have it, below a route: "/api/openapi.json".',
        )


def _check_runtime(settings: ServiceSettings, refuse: ErrorFactory) -> None:
    if settings.scale.max < settings.scale.min:
        raise refuse(
            ("scale", "max"),
            f"`max` is {settings.scale.max}, less than `min`, which is {settings.scale.min}",
            "Set `max` to the most that may run; the same as `min` for a fixed number.",
        )
    if settings.url is not None and settings.port is None:
        raise refuse(("url",), "a service with a `url` needs a `port`", "Add the port it listens on: port = 5432.")
    if settings.volumes and settings.release:
        raise refuse(
            ("release",),
            "the service has volumes and a `release` command, which would run on them beside it",
            "Give the command to the service that needs this one.",
        )
    if settings.volumes and (settings.scale.max > 1 or settings.job):
        key, what = ("scale", "[scale]") if settings.scale.max > 1 else ("job", "[job]")
        raise refuse(
            (key,),
            f"the service has volumes and {what}: two of its containers could write to one volume at a time",
            f"Remove {what}, or [[volumes]].",
        )
    if not settings.job:
        return
    if settings.release:
        raise refuse(("release",), "a job has no `release` command", "Give it to the service that needs it.")
    if problem := schedule.schedule_problem(settings.job.schedule):
        raise refuse(
            ("job", "schedule"),
            f"`schedule` is {settings.job.schedule!r}: {problem}",
            "Write minute, hour, day, month and day of the week, as cron has them: `0 3 * * *`; or @daily.",
        )
    for key, value in (("route", settings.route), ("routes", settings.routes), ("port", settings.port)):
        if value:
            raise refuse(
                (key,), f"a job takes no requests, so it has no `{key}`", f"Remove `{key}`, or the table [job]."
            )
    if settings.scale != ScaleSettings():
        raise refuse(
            ("scale",), "a job has no [scale]: one instance runs at a time", "Remove [scale], or the table [job]."
        )


def _check_needs(services: tuple[Service, ...], texts: Mapping[str, str]) -> None:
    callable_services = {service.name: service.takes_requests for service in services}
    for service in services:
        path = service.folder / "service.toml"
        for name in service.settings.needs:
            what = ""
            if name == service.name:
                what = "which is the service itself"
            elif name not in callable_services:
                what = "and there is no such service"
            elif not callable_services[name]:
                what = "which has no `port`, so it takes no requests"
            if what:
                others = ", ".join(
                    other for other, is_callable in callable_services.items() if is_callable and other != service.name
                )
                raise ConfigError(
                    f"{path}:{line_of(texts[service.name], ('needs',))}: `needs` names {name!r}, {what}",
                    remedy=f"Services that can be called: {others or 'none yet'}.",
                )


def _check_start_order(services: tuple[Service, ...], texts: Mapping[str, str]) -> None:
    """Refuse services that can only start after each other."""
    if circle := find_circle(services):
        waiting = next(service for service in services if service.name == circle[1])
        raise ConfigError(
            f"{waiting.folder / 'service.toml'}:{line_of(texts[waiting.name], ('needs',))}: `needs` closes a circle: "
            f"{' → '.join(circle)}; each would start only when the one before it is healthy",
            remedy="A service waits for those that it needs and that have a `url` or volumes. Remove one from `needs`.",
        )


def _check_services(services: tuple[Service, ...], texts: Mapping[str, str]) -> None:
    """Refuse two services with one route. They may share a port, since each has a container of its own."""
    _check_needs(services, texts)
    _check_start_order(services, texts)
    owners: dict[str, list[tuple[RouteSettings, Service]]] = {}
    for service in services:
        for number, route in enumerate(service.routes):
            for other, owner in owners.setdefault(route.path, []):
                if owner is not service and overlap(route, other):
                    keys = ("routes", f"{number}", "path") if service.settings.routes else ("route",)
                    path = service.folder / "service.toml"
                    raise ConfigError(
                        f"{path}:{line_of(texts[service.name], keys)}: `{keys[-1]}` {route.host or ''}{route.path} is "
                        f"taken by the service `{owner.name}` ({owner.folder / 'service.toml'})",
                        remedy="Give one of the two another route.",
                    )
            owners[route.path].append((route, service))


def _check_callers(
    services: tuple[Service, ...], texts: Mapping[str, str], consumers: Mapping[str, ConsumerSettings]
) -> None:
    """Refuse routes for consumers that nobody knows, and for issuers without public keys."""
    for service in services:
        path, text = service.folder / "service.toml", texts[service.name]

        def refuse(keys: tuple[str, ...], what: str, remedy: str, path: Path = path, text: str = text) -> ConfigError:
            return ConfigError(f"{path}:{line_of(text, keys)}: {what}", remedy=remedy)

        for number, route in enumerate(service.ruled_routes):
            if problem := limit_problem(route, route.auth.kind if route.auth else ""):
                raise refuse(
                    ("routes", f"{number}", "limit"), problem, "Give the route such an `auth`, or count by address."
                )
            if problem := cache_problem(route, route.auth.kind if route.auth else ""):
                raise refuse(
                    ("routes", f"{number}", "cache" if service.routes[number].cache else "auth"),
                    problem,
                    'Write cache = "off" in the route, or remove its `auth`.',
                )
            if route.auth:
                check_known_consumers(route.auth, ("routes", f"{number}", "auth"), consumers, refuse)
                with_files(route.auth, service.folder)


def read_build_secret(source: SecretSource, environment: Mapping[str, str]) -> str:
    """Return a build secret's value, read from its file or variable; it is masked from now on."""
    file = Path(str(source.file)).expanduser()
    value = environment[source.env] if source.env else file.read_text(encoding="utf-8")
    register_secret(value)
    return value
