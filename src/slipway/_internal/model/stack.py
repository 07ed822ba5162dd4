"""A stack's settings: where its images come from, where it runs, and whether it is protected."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from slipway._internal.model import peers
from slipway._internal.model.addresses import registry_problem
from slipway._internal.model.canary import Canary, CanaryChange, CanaryEnd
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.files import write_atomically
from slipway._internal.model.hosts import GATEWAY_HOST
from slipway._internal.model.names import (
    ACME_URL,
    DNS_LABEL,
    EMAIL,
    HOST,
    KUBERNETES_LABEL,
    KUBERNETES_NAME,
    KUBERNETES_PARENT,
    REGISTRY,
)
from slipway._internal.model.own_targets import ENGINE_TARGETS, list_own_targets
from slipway._internal.model.text import read_text

if TYPE_CHECKING:
    from slipway._internal.model.workspace import Workspace

Mode = Literal["inline", "external", "hybrid"]
MODES: tuple[Mode, ...] = get_args(Mode)
MODE_VARIABLE = "SLIPWAY_IMAGES"
"""The environment variable that sets the mode for one run."""
UNPROTECT_VARIABLE = "SLIPWAY_UNPROTECT"
"""The environment variable that names the stack whose protection may be taken away in this run."""


@dataclass(frozen=True)
class _TextRule:
    """The pattern of a setting's text, and the remedy for one that does not match."""

    fits: Callable[[str], object]
    remedy: str


_NAME_RULE = _TextRule(KUBERNETES_NAME.fullmatch, "Write a name of lower-case letters, digits, dashes and dots.")
ENVOY_GATEWAY = "envoy-gateway"
"""The only product whose policies a stack's Gateway may have."""
_KUBERNETES_SETTINGS: dict[str, Collection[Any] | _TextRule] = {
    "slipway:kubeconfig": _TextRule(re.compile(r"\S.*").fullmatch, "Write a file's path, such as `~/.kube/config`."),
    "slipway:context": _TextRule(re.compile(r"\S.*").fullmatch, "Write one that `kubectl config get-contexts` lists."),
    "slipway:namespace": _TextRule(
        KUBERNETES_LABEL.fullmatch, "Write lower-case letters, digits and dashes, at most 63."
    ),
    "slipway:gateway": _NAME_RULE,
    "slipway:gateway-policies": (ENVOY_GATEWAY,),
    "slipway:parent": _TextRule(
        KUBERNETES_PARENT.fullmatch, "Write NAMESPACE/NAME of a Gateway, such as `infra/public`."
    ),
    "slipway:ingress": _NAME_RULE,
    "slipway:tls": _NAME_RULE,
    "slipway:ingress-from": _TextRule(
        partial(peers.are_valid, words=(peers.ANYWHERE,)),
        "Write `anywhere`, or namespaces and address ranges with commas between them: `envoy-gateway-system`.",
    ),
    "slipway:egress-to": _TextRule(
        partial(peers.are_valid, words=(peers.INTERNET, peers.NOWHERE)),
        "Write `internet`, `nowhere`, or those and address ranges or namespaces with commas between them: "
        "`internet, 10.20.0.0/16`.",
    ),
    "slipway:admission": (True, False),
}
"""The settings that only a stack on Kubernetes has."""

_FILE_RULE = _TextRule(re.compile(r"\S.*").fullmatch, "Write a file's path, such as `certs/shop.pem`.")
_TRACES_URL = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:(?!4317/?$)[1-9][0-9]{0,4})?(/[A-Za-z0-9._~/-]*)?")
ACME_DIRECTORIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
"""The authorities that have a name of their own, and where each lists what it offers (RFC 8555, 7.1.1)."""
_ACME_SETTINGS: dict[str, Collection[Any] | _TextRule] = {
    "slipway:acme": _TextRule(
        lambda text: text in ACME_DIRECTORIES or ACME_URL.fullmatch(text),
        f"Write {', '.join(ACME_DIRECTORIES)}, or the https:// address of another authority's directory.",
    ),
    "slipway:acme-terms": ("agreed",),
    "slipway:acme-email": _TextRule(EMAIL.fullmatch, "Write an address, such as `ops@example.com`."),
    "slipway:acme-ca": _FILE_RULE,
}
_DOCKER_SETTINGS: dict[str, Collection[Any] | _TextRule] = {
    "slipway:certificate": _FILE_RULE,
    "slipway:certificate-key": _FILE_RULE,
    **_ACME_SETTINGS,
    "slipway:tls-port": range(1, 65536),
    "slipway:http3": (True, False),
    "slipway:metrics-port": range(1, 65536),
    "slipway:traces": _TextRule(
        _TRACES_URL.fullmatch,
        "Write where an OpenTelemetry collector takes OTLP over HTTP, without /v1/traces and without a password: "
        "`http://collector:4318`. Its port 4317 is for gRPC.",
    ),
    "slipway:traces-percent": range(1, 101),
}
"""The settings that only a stack on a Docker engine has."""
_OBSERVATION_SETTINGS = ("slipway:metrics-port", "slipway:traces", "slipway:traces-percent")

_SETTINGS: dict[str, Collection[Any] | _TextRule] = {
    "slipway:images": MODES,
    "slipway:target": ENGINE_TARGETS,
    "slipway:protected": (True, False),
    "slipway:port": range(1, 65536),
    **_DOCKER_SETTINGS,
    "slipway:registry": _TextRule(
        lambda text: REGISTRY.fullmatch(text) and not registry_problem(text),
        "Write host[:port][/path] without a scheme; an IP address as a whole.",
    ),
    "slipway:external": _TextRule(
        lambda text: all(DNS_LABEL.fullmatch(name) for name in _split_names(text)),
        "Write services' names with commas between them: `db, cache`.",
    ),
    "slipway:host": _TextRule(
        lambda text: HOST.fullmatch(text) and text != GATEWAY_HOST,
        "Write a host name without scheme and port, such as `shop.example.com`.",
    ),
    **_KUBERNETES_SETTINGS,
}
_WANTED_SETTINGS = {
    "slipway:certificate-key": ("slipway:certificate",),
    "slipway:tls-port": ("slipway:certificate", "slipway:acme"),
    "slipway:http3": ("slipway:certificate", "slipway:acme"),
    "slipway:acme-terms": ("slipway:acme",),
    "slipway:acme-email": ("slipway:acme",),
    "slipway:acme-ca": ("slipway:acme",),
    "slipway:traces-percent": ("slipway:traces",),
}
"""Settings that mean nothing without one of others."""
_WANTED_NAMES = {"slipway:certificate": "certificate", "slipway:acme": "authority", "slipway:traces": "collector"}
_REQUIRED_SETTINGS = ("slipway:images", "slipway:protected")
"""The settings that every stack's file must have: a default would silently decide what may run there."""
MAX_FILE_NAME_CHARACTERS = 200
"""How many letters the name of a stack's file may have: file systems take 255 bytes."""
MAX_SHOWN_CHARACTERS = 60
"""How many characters of a wrong value an error quotes."""
_INTEGER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_EXPOSURE_SETTINGS = ("slipway:gateway", "slipway:parent", "slipway:ingress")


@dataclass(frozen=True)
class Stack:
    """One place where the services run.

    `mode` is the mode in force, `overridden` says that it is not the file's; `protection_lifted`, that its protection
    may be taken away in this run; `adopts_existing`, that this run takes over what an interrupted one has made and the
    state lacks; `rolls_back`, that this run brings back earlier images, whose release commands are not run; `single`,
    that each service has one container in this run, whatever its [scale] says; `port` is the gateway's and `registry`
    the one that holds its released images, where the stack has one of its own.

    `host` is the name that it is reached by, for routes that name none of their own.

    On a Docker engine: `certificate` is the absolute path of the certificate that its gateway has, `certificate_key` of
    its private key where that is not a secret of the stack's configuration; or `acme` is the address of the directory
    of an authority that issues one, `acme_email` where that authority may write to, `acme_ca` the absolute path of the
    certificates to trust when it is asked. `tls_port` is where it speaks TLS, and by UDP HTTP/3 if `http3` says so;
    `metrics_port` is where its metrics are, `traces` who gets its spans, of `traces_percent` of the requests.

    On Kubernetes: `kubeconfig` (an absolute path) and `context` say which cluster, without them what kubectl takes;
    `namespace` is one that is not named after the stack (`namespace_of`). Of `gateway` (the class of the Gateway that
    the stack makes), `parent` (namespace/name of one that exists) and `ingress` (a class) at most one is set.
    `gateway_policies` says whose policies the `gateway` has, if any; `tls` is a Secret's name. `ingress_from` and
    `egress_to` say who may call services that have a route, and whom services may call, see `peers`. `admission`:
    whether the stack applies its admission policy.

    `external` names the services that run elsewhere: their addresses are secrets in the stack's configuration.

    `canaries`: the canaries that this run is to leave in place; None for a run that knows of none, and so is refused
    while there are some. `canary_change`: that this run changes nothing but canaries, and how; `canary_end`: how the
    one that it removes has ended.
    """

    name: str
    file: Path
    mode: Mode
    target: str
    protected: bool
    port: int | None = None
    tls_port: int | None = None
    http3: bool = False
    metrics_port: int | None = None
    traces: str | None = None
    traces_percent: int = 100
    certificate: str | None = None
    certificate_key: str | None = None
    acme: str | None = None
    acme_email: str | None = None
    acme_ca: str | None = None
    registry: str | None = None
    overridden: bool = False
    protection_lifted: bool = False
    adopts_existing: bool = False
    rolls_back: bool = False
    single: bool = False
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    gateway: str | None = None
    gateway_policies: str | None = None
    parent: str | None = None
    ingress: str | None = None
    host: str | None = None
    tls: str | None = None
    ingress_from: tuple[str, ...] = (peers.ANYWHERE,)
    egress_to: tuple[str, ...] = (peers.INTERNET,)
    admission: bool = True
    external: frozenset[str] = frozenset()
    canaries: tuple[Canary, ...] | None = None
    canary_change: CanaryChange | None = None
    canary_end: CanaryEnd | None = None


def how_to_deploy(stack: str) -> str:
    """Return the command that deploys a stack, for messages: `invoke up` is for development."""
    return "invoke up" if stack == "dev" else f"invoke deploy --stack {stack}"


def gateway_port_of(workspace: Workspace, stack: Stack) -> int:
    """Return where a stack's gateway listens: this folder's own port, else the stack's, else the workspace's."""
    return workspace.local.ports.get(stack.name) or stack.port or workspace.settings.gateway.port


def tls_port_of(workspace: Workspace, stack: Stack) -> int:
    """Return where a stack's gateway speaks TLS: the stack's own port, else the workspace's."""
    return _moved(workspace, stack, stack.tls_port or workspace.settings.gateway.tls_port)


def metrics_port_of(workspace: Workspace, stack: Stack) -> int | None:
    """Return where a stack's gateway has its metrics: the stack's own port, else the workspace's; None: nowhere."""
    port = stack.metrics_port or workspace.settings.gateway.metrics_port
    return _moved(workspace, stack, port) if port else None


def _moved(workspace: Workspace, stack: Stack, port: int) -> int:
    """Return a port as far from the files' as this folder's own port is, so that two folders have two."""
    distance = gateway_port_of(workspace, stack) - (stack.port or workspace.settings.gateway.port)
    moved = port + distance
    return moved if 0 < moved < 65536 else port


def speaks_tls(stack: Stack) -> bool:
    """Return whether a stack's gateway has a certificate, or has one issued."""
    return bool(stack.certificate or stack.acme)


def setting_line(stack: Stack, key: str) -> int:
    """Return the line of a setting in the stack's file."""
    from slipway._internal.model.stack_file import read_settings

    return read_settings(stack.file, read_text(stack.file), _SETTINGS)[key].line


def hosts_of_stack(stack: Stack) -> tuple[str, ...]:
    """Return the hosts that a stack's gateway is reached by: for routes that name none of their own."""
    return (stack.host,) if stack.host else ()


def namespace_of(workspace_name: str, stack: Stack) -> str:
    """Return the namespace that holds what a stack runs on Kubernetes.

    Raises:
        ConfigError: the stack's name gives none that Kubernetes takes.
    """
    return _valid_namespace(stack, stack.namespace or f"{workspace_name}-{stack.name}")


def gateway_namespace_of(workspace_name: str, stack: Stack) -> str:
    """Return the namespace that holds the Gateway which a stack makes; raises what `namespace_of` does."""
    return _valid_namespace(stack, f"{namespace_of(workspace_name, stack)}-gateway")


def _valid_namespace(stack: Stack, namespace: str) -> str:
    if not KUBERNETES_LABEL.fullmatch(namespace):
        raise ConfigError(
            f"{stack.file}: a namespace of the stack would be {namespace!r}, which Kubernetes does not take",
            remedy="Name one with slipway:namespace: lower-case letters, digits and dashes, at most 63.",
        )
    return namespace


def names(root: Path) -> tuple[str, ...]:
    """Return the names of the workspace's stacks: one for each infra/Pulumi.<stack>.yaml."""
    files = (root / "infra").glob("Pulumi.*.yaml")
    return tuple(sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in files))


def load(root: Path, name: str, environment: Mapping[str, str]) -> Stack:
    """Read a stack's settings; SLIPWAY_IMAGES in the environment overrides its mode.

    Raises:
        ConfigError: there is no such stack, its file or SLIPWAY_IMAGES is wrong, or a protected stack is inline.
    """
    path = _stack_file(root, name)
    config = _read_settings(root, path, read_text(path))
    stack = Stack(
        name,
        path,
        mode=config["slipway:images"],
        target=config.get("slipway:target", "docker"),
        protected=config["slipway:protected"],
        port=config.get("slipway:port"),
        tls_port=config.get("slipway:tls-port"),
        http3=config.get("slipway:http3", False),
        metrics_port=config.get("slipway:metrics-port"),
        traces=config.get("slipway:traces"),
        traces_percent=config.get("slipway:traces-percent", 100),
        certificate=_absolute_path(root, config.get("slipway:certificate")),
        certificate_key=_absolute_path(root, config.get("slipway:certificate-key")),
        acme=_directory(config.get("slipway:acme")),
        acme_email=config.get("slipway:acme-email"),
        acme_ca=_absolute_path(root, config.get("slipway:acme-ca")),
        registry=config.get("slipway:registry"),
        kubeconfig=_absolute_path(root, config.get("slipway:kubeconfig")),
        context=config.get("slipway:context"),
        namespace=config.get("slipway:namespace"),
        gateway=config.get("slipway:gateway"),
        gateway_policies=config.get("slipway:gateway-policies"),
        parent=config.get("slipway:parent"),
        ingress=config.get("slipway:ingress"),
        host=config.get("slipway:host"),
        tls=config.get("slipway:tls"),
        ingress_from=peers.split(config.get("slipway:ingress-from", peers.ANYWHERE)),
        egress_to=peers.split(config.get("slipway:egress-to", peers.INTERNET)),
        admission=config.get("slipway:admission", True),
        external=frozenset(_split_names(config.get("slipway:external", ""))),
    )
    override = environment.get(MODE_VARIABLE)
    if override:
        mode = parse_mode(override, f"the environment variable {MODE_VARIABLE}: ")
        stack = replace(stack, mode=mode, overridden=mode != stack.mode)
    refuse_inline_when_protected(stack)
    return stack


def refuse_inline_when_protected(stack: Stack) -> None:
    """Raise ConfigError when a protected stack would build inside Pulumi: nothing unverified may reach it."""
    if stack.protected and stack.mode == "inline":
        where = MODE_VARIABLE if stack.overridden else f"{stack.file}: slipway:images"
        raise ConfigError(
            f"{where} is `inline`, but the stack `{stack.name}` is protected and accepts no image that a deploy builds",
            remedy=f"Unset {MODE_VARIABLE}, or set it to `external` or `hybrid`."
            if stack.overridden
            else f"Use `external` (or `hybrid`), or set slipway:protected to false in {stack.file}.",
        )


def lost_protection_error(name: str) -> ConfigError:
    """Return the error for a stack that was protected at its last deploy, and no longer is according to its file."""
    return ConfigError(
        f"`{name}` was protected when it was last deployed, and infra/Pulumi.{name}.yaml says that it is not",
        remedy=f"Restore that file (`git log infra/Pulumi.{name}.yaml` says who changed it). If that is intended: "
        f"`invoke deploy --stack {name} --unprotect`, or {UNPROTECT_VARIABLE}={name} for `pulumi up`.",
    )


def write_mode(stack: Stack, mode: Mode) -> None:
    """Set `slipway:images` in the stack's file and leave everything else as it is."""
    from slipway._internal.model.stack_file import read_settings

    text = read_text(stack.file)
    setting = read_settings(stack.file, text, _SETTINGS)["slipway:images"]
    write_atomically(stack.file, f"{text[: setting.begin]}{mode}{text[setting.end :]}")


def _stack_file(root: Path, name: str) -> Path:
    """Return the one file of a stack; the name must match the file's, case included."""
    path = root / "infra" / f"Pulumi.{name}.yaml"
    if len(path.name) > MAX_FILE_NAME_CHARACTERS:
        raise ConfigError(
            f"{name[:MAX_SHOWN_CHARACTERS]!r}… ({len(name)} letters) is not a stack name", remedy="Write a shorter one."
        )
    others = [path.with_suffix(suffix) for suffix in (".yml", ".json") if path.with_suffix(suffix).exists()]
    if name not in names(root):
        beside = f" ({others[0].name} is not read)" if others else ""
        raise ConfigError(
            f"there is no stack `{name}`: {path} is missing{beside}",
            remedy=f"Stacks here: {', '.join(names(root)) or 'none'}.",
        )
    if others:
        raise ConfigError(
            f"the stack `{name}` has two files: {path} and {others[0].name}", remedy=f"Keep only {path.name}."
        )
    if path.is_symlink():
        raise ConfigError(
            f"{path} is a link to {path.readlink()}: another stack's settings would decide what may run here",
            remedy="Put a copy of that file in its place.",
        )
    return path


def _read_settings(root: Path, path: Path, text: str) -> dict[str, Any]:
    from slipway._internal.model.stack_file import read_settings

    settings = read_settings(path, text, _SETTINGS)
    known = {**_SETTINGS, "slipway:target": (*ENGINE_TARGETS, *list_own_targets(root))}
    values: dict[str, Any] = {}
    for key, setting in settings.items():
        allowed = known[key]
        values[key] = setting.text if isinstance(allowed, _TextRule) else _parse_value(setting.text)
        if remedy := _value_remedy(values[key], allowed):
            if key == "slipway:target":
                remedy += " Others are your own: infra/targets/NAME.py."
            raise ConfigError(f"{path}:{setting.line}: `{key}` is {_excerpt(setting.text)}", remedy=remedy)
    _check_combinations(path, {key: setting.line for key, setting in settings.items()}, values)
    if missing := [key for key in _REQUIRED_SETTINGS if key not in values]:
        raise ConfigError(
            f"{path}: `{missing[0]}` is not set",
            remedy="Under `config:`, write whether the stack is protected and where its images come from: "
            "`slipway:protected: true` with `slipway:images: external`, or `slipway:protected: false`, say.",
        )
    return values


def _directory(acme: str | None) -> str | None:
    return ACME_DIRECTORIES.get(acme, acme) if acme else None


def _split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if text]


def _parse_value(text: str) -> object:
    """Convert a text of the file as Pulumi does: true, false, a whole number; else unchanged."""
    words = {"true": True, "false": False}
    if text in words:
        return words[text]
    return int(text) if _INTEGER.fullmatch(text) else text


def _excerpt(text: str) -> str:
    return (
        repr(text) if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]!r}… ({len(text)} letters)"
    )


def _check_combinations(path: Path, lines: Mapping[str, int], values: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that the stack's target does not have, or that conflict."""

    def refuse(key: str, what: str, remedy: str) -> ConfigError:
        return ConfigError(f"{path}:{lines[key]}: {what}", remedy=remedy)

    target = values.get("slipway:target", "docker")
    for key in (key for key in _DOCKER_SETTINGS if key in values):
        if target != "docker":
            raise refuse(
                key,
                f"`{key}` is a setting of stacks on a Docker engine, which this one is not",
                "Remove the line. On Kubernetes traces and metrics are the Gateway's own, by its class's resources."
                if key in _OBSERVATION_SETTINGS
                else "Remove the line. On Kubernetes the certificate is a Secret, which slipway:tls names.",
            )
        wanted = _WANTED_SETTINGS.get(key, ())
        if wanted and not any(other in values for other in wanted):
            raise refuse(
                key,
                f"`{key}` is set, but there is no {' or '.join(f'`{other}`' for other in wanted)}",
                f"Name the {_WANTED_NAMES[wanted[0]]}, or remove the line.",
            )
    if "slipway:acme" in values and "slipway:certificate" in values:
        raise refuse(
            "slipway:acme",
            "`slipway:acme` and `slipway:certificate` are both set",
            "Keep one: a certificate that an authority issues, or one of your own.",
        )
    if "slipway:acme" in values and "slipway:acme-terms" not in values:
        raise refuse(
            "slipway:acme",
            "`slipway:acme` is set, but nobody agreed to the terms of that authority",
            "Read them, they are linked from its site and its directory; then add `slipway:acme-terms: agreed`.",
        )
    if target != "kubernetes":
        for key in (key for key in _KUBERNETES_SETTINGS if key in values):
            raise refuse(
                key,
                f"`{key}` is a setting of stacks on Kubernetes, which this one is not",
                "Set slipway:target to kubernetes, or remove the line.",
            )
        if "slipway:host" in values and target != "docker":
            raise refuse(
                "slipway:host",
                "`slipway:host` is a setting of stacks on Docker and Kubernetes, which this one is not",
                "Have your own target know its host, and remove the line.",
            )
        return
    exposed = [key for key in _EXPOSURE_SETTINGS if key in values]
    if len(exposed) > 1:
        raise refuse(
            exposed[1],
            f"`{exposed[0]}` and `{exposed[1]}` are both set",
            "Keep one: a Gateway of the stack's own, one that exists, or an Ingress.",
        )
    if "slipway:gateway-policies" in values and "slipway:gateway" not in values:
        raise refuse(
            "slipway:gateway-policies",
            "`slipway:gateway-policies` is set, but the stack has no Gateway of its own",
            "Name the class of Envoy Gateway with slipway:gateway, or remove the line: what the listeners of somebody "
            "else's Gateway do to requests is not this stack's to say.",
        )
    for key in ("slipway:host", "slipway:tls"):
        if key in values and not exposed:
            raise refuse(
                key,
                f"`{key}` is set, but nothing is exposed under it",
                "Add slipway:gateway, slipway:parent or slipway:ingress, or remove the line.",
            )


def _absolute_path(root: Path, path: str | None) -> str | None:
    """Return a path from the settings as an absolute one: below the workspace, where it is not one already."""
    return str(root / Path(path).expanduser()) if path else None


def _value_remedy(value: object, allowed: Collection[Any] | _TextRule) -> str:
    """Return what a value should be, or nothing where it is valid."""
    if isinstance(allowed, _TextRule):
        return "" if allowed.fits(str(value)) else allowed.remedy
    if type(value) is type(next(iter(allowed))) and value in allowed:  # to Python, 1 and True are the same
        return ""
    if isinstance(allowed, range):
        return f"It may be one of: {allowed.start} to {allowed.stop - 1}."
    choices = ", ".join(str(choice).lower() for choice in allowed)
    return f"It may be one of: {choices}."


def parse_mode(text: str, where: str = "") -> Mode:
    """Return the text as a mode; ConfigError naming `where` it stands and the modes when it is none."""
    for mode in MODES:
        if mode == text:
            return mode
    raise ConfigError(f"{where}{text!r} is not a mode", remedy=f"The modes are {', '.join(MODES)}.")
