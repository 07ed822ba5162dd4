"""Makes a service of one of a Compose file: each of its keys is carried over, or told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway._internal.adopt import compose_keys
from slipway._internal.adopt.compose_draft import ComposeService
from slipway._internal.adopt.compose_file import ComposeFile
from slipway._internal.adopt.compose_mounts import Additions, give_secrets, mount_all
from slipway._internal.adopt.compose_running import carry_healthcheck, carry_resources, carry_scale, whole_seconds
from slipway._internal.adopt.compose_secrets import is_secret
from slipway._internal.adopt.copying import list_files
from slipway._internal.adopt.folder import describe_build
from slipway._internal.adopt.known_images import known_image
from slipway._internal.adopt.names import to_secret
from slipway._internal.adopt.pins import HOW_TO_PIN, Pins
from slipway._internal.adopt.plan import Draft
from slipway._internal.adopt.routes import first_http_port
from slipway._internal.adopt.security import lift_restrictions
from slipway._internal.content.dockerfile import read as read_dockerfile
from slipway._internal.content.dockerfile_parser import parse_instructions
from slipway._internal.model.containers import CAPABILITIES
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.scaffold.service_creation import list_kinds

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_KIND_KEYS = ("environment", "volumes", "healthcheck", "command", "entrypoint", "secrets")
"""What a kind has of its own, in place of what the Compose file says."""
_HOST_MODES = ("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup")


def adopt_service(workspace: Workspace, compose: ComposeFile, name: str, draft: Draft, pins: Pins) -> ComposeService:
    """Fill a draft in with what a Compose file says of a service.

    Args:
        workspace: where it is to be.
        compose: the file.
        name: what the file calls the service.
        draft: what it becomes, with its name.
        pins: knows the digests of images.
    """
    service = ComposeService(compose, name, compose.services()[name], draft)
    _tell_plain_keys(service)
    _refuse_host_access(workspace, service)
    added = Additions()
    if "build" in service.settings:
        _find_sources(service)
    service.renamed, service.commands = give_secrets(compose, draft, name, service.settings)
    mount_all(compose, draft, name, service.settings, added)
    _environment(service, added)
    ports = _ports(service)
    if "build" in service.settings and draft.sources:
        _build(workspace, service, pins, ports)
    elif service.settings.get("image") and "build" not in service.settings:
        _image(workspace, service, pins, ports)
    elif not draft.is_refused:
        service.tell("refused", "image", "it has neither an `image` nor a `build`", f"--skip {draft.name}")
    if not service.is_missing and not draft.kind:
        _commands(service, added)
        _apply_additions(service, added)
        carry_healthcheck(service)
        carry_resources(service)
        carry_scale(service)
    return service


def _tell_plain_keys(service: ComposeService) -> None:
    """Tell of every key that is not looked at further."""
    written = service.compose.written_keys(service.name)
    keys = dict.fromkeys(
        [*written, *(key for key, value in service.settings.items() if value not in (None, {}, [], ""))]
    )
    for key in keys:
        if key in compose_keys.CARRIED:
            continue
        treatment = compose_keys.treatment_of(key, compose_keys.SERVICE_KEYS)
        if treatment.fate == "refused" and service.settings.get(key) in (None, False, [], {}, ""):
            continue
        skip = f" --skip {service.draft.name} leaves it out." if treatment.fate == "refused" else ""
        service.tell(treatment.fate, key, treatment.why, f"{treatment.instead}{skip}")
    for key in ("extends", "env_file"):
        if key in written:
            service.tell("carried over", key, "what it brings is read")
    _tell_entries(service)
    _tell_networks(service, written)


def _tell_entries(service: ComposeService) -> None:
    """Tell of what single entries of lists say beyond what is looked at, such as the owner of a secret's file."""
    for key, known in compose_keys.ENTRY_KEYS.items():
        entries = service.settings.get(key) or []
        named = entries.items() if isinstance(entries, Mapping) else enumerate(entries)
        for name, entry in named:
            if not isinstance(entry, Mapping):
                continue
            left = {each: value for each, value in entry.items() if each not in known}
            if entry.get("type") == "bind":
                left.pop("read_only", None)  # what is copied into an image is
            for each, defaults in compose_keys.ENTRY_DEFAULTS.items():
                told = entry.get(each) or {}
                left |= {f"{each}.{inner}": value for inner, value in told.items() if defaults.get(inner) != value}
            for each, value in left.items():
                if value not in (None, False, "", {}, []):
                    why = f"{each}: {value}: a service of Slipway has no such setting"
                    service.draft.tell("not carried over", service.where(key, str(name)), f"{key}.{each}", why)


def _tell_networks(service: ComposeService, written: list[str]) -> None:
    networks = service.settings.get("networks") or {}
    if "networks" in written:
        service.tell("kept otherwise", "networks", "a stack is one network: all its services reach each other by name")
    for name, told in networks.items():
        for key, value in (told or {}).items():
            others = [alias for alias in value if alias != service.draft.name] if key == "aliases" else value
            if others:
                shown = ", ".join(map(str, others)) if isinstance(others, list) else str(others)
                service.tell(
                    "not carried over",
                    f"networks.{name}.{key}",
                    f"{shown}: the service's only name in the network is {service.draft.name}",
                )


def _refuse_host_access(workspace: Workspace, service: ComposeService) -> None:
    skip = f"Take the line out if the service runs without it, or leave it out: --skip {service.draft.name}."
    if service.settings.get("privileged"):
        service.tell("refused", "privileged", "a privileged container is root on its host", skip)
    elif "privileged" in service.settings:
        service.tell("kept otherwise", "privileged", "no container is privileged")
    for key in _HOST_MODES:
        mode = str(service.settings.get(key) or "")
        if mode == "host" or mode.startswith(("service:", "container:")):
            what = "its host's" if mode == "host" else "another container's"
            service.tell("refused", key, f"{key}: {mode}: a container does not get {what} namespace", skip)
        elif mode:
            service.tell("kept otherwise", key, f"{key}: {mode}: every container has its own, in the stack's network")
    runtime = str(service.settings.get("runtime") or "")
    if runtime and runtime not in ("runc", "io.containerd.runc.v2"):
        service.tell("refused", "runtime", f"the engine's own runtime runs containers, not {runtime}", skip)
    platform = str(service.settings.get("platform") or "")
    if platform and not platform.startswith("linux/"):
        service.tell("refused", "platform", f"images are for Linux, not for {platform}", skip)
    elif platform and platform not in workspace.settings.build.platforms:
        service.tell("to do", "platform", f"the workspace builds no {platform}", "workspace.toml: [build] platforms")
    elif platform:
        service.tell("kept otherwise", "platform", "it is one of the workspace's platforms")
    for capability in service.settings.get("cap_add") or ():
        if _capability(capability) not in CAPABILITIES:
            service.tell(
                "refused",
                "cap_add",
                f"a service may have no capability {capability}: it reaches beyond its container",
                skip,
            )


def _capability(text: Any) -> str:
    return str(text).upper().removeprefix("CAP_")


def _find_sources(service: ComposeService) -> None:
    """Set the draft's sources to the context of the build, or refuse it."""
    build = service.settings["build"]
    context = str(build.get("context") or ".")
    folder = Path(context)
    skip = f"or leave it out: --skip {service.draft.name}."
    if not folder.is_absolute():
        service.tell(
            "refused", "build.context", f"{context} is no folder of the project", f"Clone it into the project, {skip}"
        )
    elif not folder.is_dir():
        service.tell("refused", "build.context", f"{folder} is not there", f"Restore it, {skip}")
    elif not folder.resolve().is_relative_to(service.compose.folder.resolve()):
        service.tell(
            "refused",
            "build.context",
            f"{folder} lies outside of the project {service.compose.folder}",
            f"Adopt that folder by itself: `invoke adopt {folder}`; {skip}",
        )
    else:
        service.draft.sources = folder
        service.draft.without = service.draft.without | service.compose.value_files()
    for key in build:
        if key not in compose_keys.BUILD_CARRIED and build[key] not in (None, {}, [], ""):
            treatment = compose_keys.treatment_of(key, compose_keys.BUILD_KEYS)
            service.tell(treatment.fate, f"build.{key}", treatment.why, treatment.instead)
    if "image" in service.settings:
        service.tell("kept otherwise", "image", "what is built is named after the workspace and the service")


def _environment(service: ComposeService, added: Additions) -> None:
    environment: dict[str, str] = {}
    for name, value in (service.settings.get("environment") or {}).items():
        key = f"environment.{name}"
        if value is None:
            service.tell("to do", key, "its value would come from your shell", f'{name} = "…" in [env], or a secret')
            continue
        text = service.text(value)
        if not _ENV_NAME.fullmatch(name) and is_secret(name, text):
            service.tell(
                "not carried over",
                key,
                "it looks like a secret, and no shell has a variable of that name: the image would hold it",
                f'secrets = ["{to_secret(name)}"]: have the program read /run/secrets/{to_secret(name)}.',
            )
            continue
        if not _ENV_NAME.fullmatch(name):
            added.lines.append(f"ENV {name}={json.dumps(text, ensure_ascii=False).replace('$', chr(92) + '$')}")
            service.tell("carried over", key, "as ENV of the image: [env] takes names of letters, digits and _ alone")
            continue
        environment[name] = text
    if environment:
        service.draft.settings["env"] = environment
        service.tell("carried over", "environment", f"{len(environment)} in [env]")


def _ports(service: ComposeService) -> tuple[int, ...]:
    """Return the ports of a service, the one that it gets first; tell of the others."""
    published = [port for port in service.settings.get("ports") or () if str(port.get("protocol", "tcp")) == "tcp"]
    targets = [int(port["target"]) for port in published]
    exposed = [text.partition("/")[0] for text in map(str, service.settings.get("expose") or ())]
    others = [int(text) for text in exposed if text.isdigit()]
    service.http = first_http_port(targets)
    ports = tuple(dict.fromkeys([*([service.http] if service.http else []), *targets, *others]))
    for number, port in enumerate(service.settings.get("ports") or ()):
        target, protocol = int(port["target"]), str(port.get("protocol", "tcp"))
        outside = port.get("published") or "any"
        if target == service.http and protocol == "tcp":
            service.tell(
                "carried over",
                "ports",
                f"{outside}:{target} is the gateway's: the service has a route",
                "",
                str(number),
            )
            continue
        service.tell(
            "not carried over",
            "ports",
            f"{outside}:{target}/{protocol}: the gateway serves one port of a service, and HTTP alone",
            f"Other services reach it at {service.draft.name}:{target}.",
            str(number),
        )
    for text in exposed:
        if text.isdigit() and ports and int(text) != ports[0] and int(text) not in targets:
            service.tell(
                "kept otherwise", "expose", f"{text}: on Docker all ports are reached; on Kubernetes {ports[0]} alone"
            )
    if "expose" in service.settings and ports and str(ports[0]) in exposed:
        service.tell("carried over", "expose", f"port {ports[0]}")
    return ports


def _build(workspace: Workspace, service: ComposeService, pins: Pins, ports: tuple[int, ...]) -> None:
    build, draft = service.settings["build"], service.draft
    args = {str(name): str(value) for name, value in (build.get("args") or {}).items() if value is not None}
    if args:
        draft.settings["args"] = args
        service.tell("carried over", "build.args", "in [args]")
    try:
        names = list_files(draft.sources or Path(), draft.without)
        if build.get("dockerfile_inline"):
            service.tell(
                "refused",
                "build.dockerfile_inline",
                "a Dockerfile in a Compose file",
                "Write it as a file in the build's context, and name it there.",
            )
            return
        file = _dockerfile_of(service)
        if file is None:
            return
        dockerfile = read_dockerfile(file)
        ignore_file = file.with_name(f"{file.name}.dockerignore")
        if ignore_file.is_file():
            draft.files["Dockerfile.dockerignore"] = ignore_file
        target = str(build.get("target") or "")
        dockerfile.stage(target)
        user = _user(service)
        service.facts = describe_build(
            workspace,
            draft,
            dockerfile,
            pins,
            target=target,
            names=names,
            ports=ports,
            user=user,
            read_only=bool(service.settings.get("read_only")),
        )
        service.tell("carried over", "build", f"{draft.sources}, stage {draft.settings['target'] or 'the last one'}")
        _capabilities(service)
    except SlipwayError as error:
        service.tell("refused", "build", error.message, error.remedy)


def _dockerfile_of(service: ComposeService) -> Path | None:
    name = str(service.settings["build"].get("dockerfile") or "Dockerfile")
    folder = service.draft.sources or Path()
    file = folder / name
    if not file.resolve().is_relative_to(service.compose.folder.resolve()):
        service.tell(
            "refused", "build.dockerfile", f"{file} lies outside of the project", "Copy it into the build's context."
        )
        return None
    return file


def _image(workspace: Workspace, service: ComposeService, pins: Pins, ports: tuple[int, ...]) -> None:
    draft, image = service.draft, str(service.settings["image"])
    try:
        pinned = pins.pin(image)
    except ConfigError as error:
        service.tell("refused", "image", error.message, error.remedy)
        return
    known = known_image(image)
    if ports or known:
        draft.settings["port"] = ports[0] if ports else known.port if known else 0
    if not ports and known:
        draft.comments["port"] = "The port that such images listen on."
    if known and known.scheme and draft.settings["port"] == known.port and service.http is None:
        draft.settings["url"] = f"{known.scheme}://{{host}}:{{port}}"
    if pinned:
        draft.settings["image"] = pinned
        service.tell("carried over", "image", pinned)
        user = _user(service)
        is_root = user is None or user.partition(":")[0] in ("root", "0")
        lift_restrictions(draft, is_root=is_root, user=user, read_only=bool(service.settings.get("read_only")))
        _capabilities(service)
        return
    kind = next((kind for kind in (known.kinds if known else ()) if kind in list_kinds(workspace.root)), None)
    why = f"{image} is not pinned by digest, and {pins.why_unknown(image)}"
    if kind and not draft.is_refused:
        draft.kind = kind
        service.tell(
            "kept otherwise", "image", f"{why}; the kind {kind} takes its place", HOW_TO_PIN.format(image=image)
        )
        own = [key for key in _KIND_KEYS if service.settings.get(key)]
        draft.rows = [row for row in draft.rows if row.key.partition(".")[0] not in own or row.fate != "carried over"]
        for key in own:
            empty = ", empty at first" if key == "volumes" else ""
            service.tell(
                "kept otherwise", key, f"the kind {kind} has its own{empty}: see services/{draft.name}/service.toml"
            )
        service.commands.clear()
        draft.settings = {key: draft.settings[key] for key in ("port",) if key in draft.settings}
    elif not draft.is_refused:
        service.is_missing = True
        service.tell("not carried over", "image", why, HOW_TO_PIN.format(image=image))


def _user(service: ComposeService) -> str | None:
    user = service.settings.get("user")
    if user is None:
        return None
    if not _USER.fullmatch(str(user)):
        service.tell("to do", "user", f"{user!r} is no USER or USER:GROUP", "[security] user")
        return None
    service.tell("carried over", "user", f"[security] user = {user}")
    return str(user)


def _capabilities(service: ComposeService) -> None:
    """Add the capabilities that the file names; with `cap_drop: ALL` it names all that there are."""
    added = [_capability(each) for each in service.settings.get("cap_add") or ()]
    dropped = [_capability(each) for each in service.settings.get("cap_drop") or ()]
    security = service.draft.settings.get("security", {})
    if dropped:
        service.tell("carried over", "cap_drop", "every container has no capability but those that it is given")
    if "read_only" in service.settings:
        service.tell("carried over", "read_only", "[security] read-only")
    if not added and not dropped:
        return
    found = [] if "ALL" in dropped else [each for each in security.get("capabilities", ()) if each not in dropped]
    found += [each for each in added if each in CAPABILITIES and each not in found]
    if added:
        service.tell("carried over", "cap_add", "[security] capabilities")
    security["capabilities"] = found
    service.draft.comments["security.capabilities"] = "As the Compose file has them."
    if not found:
        del security["capabilities"]
    service.draft.settings["security"] = security


def _commands(service: ComposeService, added: Additions) -> None:
    for key in ("entrypoint", "command"):
        words = service.words(service.settings.get(key))
        if words and words[0]:
            service.draft.settings[key] = words
            service.tell("carried over", key, " ".join(words)[:80])
        elif service.settings.get(key) is not None and key in service.compose.written_keys(service.name):
            service.tell("to do", key, f"an empty {key} takes the image's away, which service.toml cannot")
    if signal := service.settings.get("stop_signal"):
        added.lines.append(f"STOPSIGNAL {signal}")
        service.tell("carried over", "stop_signal", f"STOPSIGNAL {signal} in the Dockerfile")
    if folder := service.settings.get("working_dir"):
        added.lines.append(f"WORKDIR {folder}")
        service.tell("carried over", "working_dir", f"WORKDIR {folder} in the Dockerfile")
    if period := service.settings.get("stop_grace_period"):
        service.draft.settings["drain"] = whole_seconds(period, 1)
        service.tell("carried over", "stop_grace_period", f"drain = {service.draft.settings['drain']}")


def _apply_additions(service: ComposeService, added: Additions) -> None:
    """Add lines to a service's Dockerfile; an image gets one for them."""
    draft = service.draft
    if not added.lines or (draft.dockerfile is None and "image" not in draft.settings):
        return
    draft.files.update(added.files)
    text = "\n".join(["# Added by `invoke adopt`: what the Compose file has beside the image.", *added.lines, ""])
    if draft.dockerfile is None:
        draft.dockerfile = f"FROM {draft.settings.pop('image')} AS run\n{text}"
        return
    stage = draft.settings["target"]
    draft.dockerfile = draft.dockerfile.rstrip("\n") + "\n\n"
    if stage and not _is_last_stage(draft.dockerfile, stage):
        draft.dockerfile += f"FROM {stage} AS adopted\n"
        draft.settings["target"] = "adopted"
    draft.dockerfile += text


def _is_last_stage(dockerfile: str, stage: str) -> bool:
    froms = [each.rest.split() for each in parse_instructions(dockerfile, "\\") if each.keyword == "FROM"]
    return bool(froms) and froms[-1][-1].lower() == stage.lower()
