"""A stack's settings: where its images come from, where it runs, and whether it is protected."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from slipway.model import peers
from slipway.model.errors import ConfigError
from slipway.model.files import write_atomically
from slipway.model.names import HOST, KUBERNETES_LABEL, KUBERNETES_NAME, KUBERNETES_PARENT, REGISTRY
from slipway.model.parsing import is_number
from slipway.model.reading import read_text, read_yaml, unknown_key

Mode = Literal["inline", "external", "hybrid"]
Target = Literal["docker", "kubernetes"]
MODES: tuple[Mode, ...] = get_args(Mode)
TARGETS: tuple[Target, ...] = get_args(Target)
OVERRIDE = "SLIPWAY_IMAGES"
"""The environment variable that sets the mode for one run."""


@dataclass(frozen=True)
class _Text:
    """What a text has to look like, and what to say when it does not."""

    fits: Callable[[str], object]
    remedy: str


_NAME = _Text(KUBERNETES_NAME.fullmatch, "Write a name of lower-case letters, digits, dashes and dots.")
_KUBERNETES: dict[str, Collection[Any] | _Text] = {
    "slipway:kubeconfig": _Text(re.compile(r"\S.*").fullmatch, "Write a file's path, such as `~/.kube/config`."),
    "slipway:context": _Text(re.compile(r"\S.*").fullmatch, "Write one that `kubectl config get-contexts` lists."),
    "slipway:namespace": _Text(KUBERNETES_LABEL.fullmatch, "Write lower-case letters, digits and dashes, at most 63."),
    "slipway:gateway": _NAME,
    "slipway:parent": _Text(KUBERNETES_PARENT.fullmatch, "Write NAMESPACE/NAME of a Gateway, such as `infra/public`."),
    "slipway:ingress": _NAME,
    "slipway:host": _Text(HOST.fullmatch, "Write a host name without scheme and port, such as `shop.example.com`."),
    "slipway:tls": _NAME,
    "slipway:ingress-from": _Text(
        partial(peers.good, words=(peers.ANYWHERE,)),
        "Write `anywhere`, or namespaces and address ranges with commas between them: `envoy-gateway-system`.",
    ),
    "slipway:egress-to": _Text(
        partial(peers.good, words=(peers.INTERNET, peers.NOWHERE)),
        "Write `internet`, `nowhere`, or those and address ranges or namespaces with commas between them: "
        "`internet, 10.20.0.0/16`.",
    ),
    "slipway:admission": (True, False),
}
"""The settings that only a stack on Kubernetes has."""

_SETTINGS: dict[str, Collection[Any] | _Text] = {
    "slipway:images": MODES,
    "slipway:target": TARGETS,
    "slipway:protected": (True, False),
    "slipway:port": range(1, 65536),
    "slipway:registry": _Text(REGISTRY.fullmatch, "Write host[:port][/path] without a scheme."),
    **_KUBERNETES,
}
_EXPOSURES = ("slipway:gateway", "slipway:parent", "slipway:ingress")


@dataclass(frozen=True)
class Stack:
    """One place where the services run.

    `images` is the mode in force, `overridden` says that it is not the file's; `port` is the gateway's and `registry`
    the one that holds its released images, where the stack has one of its own.

    On Kubernetes: `kubeconfig` (an absolute path) and `context` say which cluster, without them what kubectl takes;
    `namespace` is one that is not named after the stack (`namespace_of`). Of `gateway` (the class of the Gateway that
    the stack makes), `parent` (namespace/name of one that exists) and `ingress` (a class) at most one is set; `host`
    and `tls` (a Secret's name) are what it is reached by. `ingress_from` and `egress_to` say who may call services that
    have a route, and whom services may call, see `peers`. `admission`: whether the stack applies its admission policy.
    """

    name: str
    file: Path
    images: Mode
    target: Target
    protected: bool
    port: int | None = None
    registry: str | None = None
    overridden: bool = False
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    gateway: str | None = None
    parent: str | None = None
    ingress: str | None = None
    host: str | None = None
    tls: str | None = None
    ingress_from: tuple[str, ...] = (peers.ANYWHERE,)
    egress_to: tuple[str, ...] = (peers.INTERNET,)
    admission: bool = True


def namespace_of(workspace_name: str, stack: Stack) -> str:
    """Return the namespace that holds what a stack runs on Kubernetes.

    Raises:
        ConfigError: the stack's name gives none that Kubernetes takes.
    """
    return _checked(stack, stack.namespace or f"{workspace_name}-{stack.name}")


def gateway_namespace_of(workspace_name: str, stack: Stack) -> str:
    """Return the namespace that holds the Gateway which a stack makes; raises what `namespace_of` does."""
    return _checked(stack, f"{namespace_of(workspace_name, stack)}-gateway")


def _checked(stack: Stack, namespace: str) -> str:
    if not KUBERNETES_LABEL.fullmatch(namespace):
        raise ConfigError(
            f"{stack.file}: a namespace of the stack would be {namespace!r}, which Kubernetes does not take",
            remedy="Name one with slipway:namespace: lower-case letters, digits and dashes, at most 63.",
        )
    return namespace


def names(root: Path) -> tuple[str, ...]:
    """Return the names of the workspace's stacks: one for each infra/Pulumi.<stack>.yaml."""
    return tuple(sorted(path.name.split(".")[1] for path in (root / "infra").glob("Pulumi.*.yaml")))


def load(root: Path, name: str, environment: Mapping[str, str]) -> Stack:
    """Read a stack's settings; SLIPWAY_IMAGES in the environment overrides its mode.

    Raises:
        ConfigError: there is no such stack, its file or SLIPWAY_IMAGES is wrong, or a protected stack is inline.
    """
    path = root / "infra" / f"Pulumi.{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"there is no stack `{name}`: {path} is missing",
            remedy=f"Stacks here: {', '.join(names(root)) or 'none'}.",
        )
    text = read_text(path)
    config = _config(path, text)
    stack = Stack(
        name,
        path,
        images=config.get("slipway:images", "inline"),
        target=config.get("slipway:target", "docker"),
        protected=config.get("slipway:protected", False),
        port=config.get("slipway:port"),
        registry=config.get("slipway:registry"),
        kubeconfig=_file(root, config.get("slipway:kubeconfig")),
        context=config.get("slipway:context"),
        namespace=config.get("slipway:namespace"),
        gateway=config.get("slipway:gateway"),
        parent=config.get("slipway:parent"),
        ingress=config.get("slipway:ingress"),
        host=config.get("slipway:host"),
        tls=config.get("slipway:tls"),
        ingress_from=peers.split(config.get("slipway:ingress-from", peers.ANYWHERE)),
        egress_to=peers.split(config.get("slipway:egress-to", peers.INTERNET)),
        admission=config.get("slipway:admission", True),
    )
    override = environment.get(OVERRIDE)
    if override:
        mode = as_mode(override, f"the environment variable {OVERRIDE}: ")
        stack = replace(stack, images=mode, overridden=mode != stack.images)
    refuse_inline_when_protected(stack)
    return stack


def refuse_inline_when_protected(stack: Stack) -> None:
    """Raise ConfigError when a protected stack would build inside Pulumi: nothing unproven may reach it."""
    if stack.protected and stack.images == "inline":
        where = OVERRIDE if stack.overridden else f"{stack.file}: slipway:images"
        raise ConfigError(
            f"{where} is `inline`, but the stack `{stack.name}` is protected and takes no image built on the way",
            remedy=f"Use `external` (or `hybrid`), or set slipway:protected to false in {stack.file}.",
        )


def write_mode(stack: Stack, mode: Mode) -> None:
    """Set `slipway:images` in the stack's file and leave every other line as it is."""
    text = read_text(stack.file)
    line = re.compile(r"^(\s+slipway:images:\s*)([\"']?)[\w-]+\2", re.MULTILINE)
    if line.search(text):
        text = line.sub(rf"\g<1>{mode}", text, count=1)
    elif re.search(r"^config:\s*$", text, re.MULTILINE):
        text = re.sub(r"^config:\s*$", f"config:\n  slipway:images: {mode}", text, count=1, flags=re.MULTILINE)
    else:
        text = f"{text.rstrip()}\nconfig:\n  slipway:images: {mode}\n".lstrip()
    write_atomically(stack.file, text)


def _config(path: Path, text: str) -> dict[str, Any]:
    data = read_yaml(path, text=text)
    config = data.get("config")
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise ConfigError(
            f"{path}:{_line(text, 'config')}: `config` is {config!r:.80} and no table of settings",
            remedy="Write each setting on a line of its own below it: `  slipway:images: inline`.",
        )
    ours = {key: value for key, value in config.items() if str(key).startswith("slipway:")}
    for key, value in ours.items():
        if key not in _SETTINGS:
            raise unknown_key(path, _line(text, key), (key,), _SETTINGS)
        if isinstance(_SETTINGS[key], _Text):
            ours[key] = str(value) if isinstance(value, str | int | float) else ""
        elif isinstance(value, str):  # Pulumi writes booleans and numbers as texts
            ours[key] = int(value) if is_number(value) else {"true": True, "false": False}.get(value, value)
        if remedy := _refusal(ours[key], _SETTINGS[key]):
            raise ConfigError(f"{path}:{_line(text, key)}: `{key}` is {value!r:.80}", remedy=remedy)
    _check_together(path, text, ours)
    return ours


def _check_together(path: Path, text: str, ours: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that the stack's target does not have, or that do not go together."""

    def refuse(key: str, what: str, remedy: str) -> ConfigError:
        return ConfigError(f"{path}:{_line(text, key)}: {what}", remedy=remedy)

    if ours.get("slipway:target") != "kubernetes":
        for key in (key for key in _KUBERNETES if key in ours):
            raise refuse(
                key,
                f"`{key}` is a setting of stacks on Kubernetes, which this one is not",
                "Set slipway:target to kubernetes, or remove the line.",
            )
        return
    exposed = [key for key in _EXPOSURES if key in ours]
    if len(exposed) > 1:
        raise refuse(
            exposed[1],
            f"`{exposed[0]}` and `{exposed[1]}` are both set",
            "Keep one: a Gateway of the stack's own, one that exists, or an Ingress.",
        )
    for key in ("slipway:host", "slipway:tls"):
        if key in ours and not exposed:
            raise refuse(
                key,
                f"`{key}` is set, but nothing is exposed under it",
                "Add slipway:gateway, slipway:parent or slipway:ingress, or remove the line.",
            )


def _file(root: Path, path: str | None) -> str | None:
    """Return a path from the settings as an absolute one: below the workspace, where it is not one already."""
    return str(root / Path(path).expanduser()) if path else None


def _refusal(value: object, allowed: Collection[Any] | _Text) -> str:
    """Return what a value should be, or nothing where it is that."""
    if isinstance(allowed, _Text):
        return "" if allowed.fits(str(value)) else allowed.remedy
    if type(value) is type(next(iter(allowed))) and value in allowed:  # to Python, 1 and True are the same
        return ""
    choices = "1 to 65535" if isinstance(allowed, range) else ", ".join(str(each).lower() for each in allowed)
    return f"It may be one of: {choices}."


def _line(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().startswith(f"{key}:"):
            return number
    return 1


def as_mode(text: str, where: str = "") -> Mode:
    """Return the text as a mode; ConfigError naming `where` it stands and the modes when it is none."""
    for mode in MODES:
        if mode == text:
            return mode
    raise ConfigError(f"{where}{text!r} is no mode", remedy=f"The modes are {', '.join(MODES)}.")
