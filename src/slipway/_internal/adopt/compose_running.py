"""How a Compose file's service is kept: its health check, limits and number of containers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slipway._internal.adopt import compose_keys
from slipway._internal.adopt.compose_draft import ComposeService
from slipway._internal.adopt.known_images import known_image
from slipway._internal.adopt.security import set_limits
from slipway._internal.content import healthcheck

_JAVA_FILES = ("pom.xml", "build.gradle", "build.gradle.kts")
_MEGABYTE = 1024**2


def carry_healthcheck(service: ComposeService) -> None:
    check = service.settings.get("healthcheck")
    if not check:
        return
    test = check.get("test") or []
    words = [test] if isinstance(test, str) else list(test)
    if check.get("disable") or words[:1] == ["NONE"]:
        service.tell(
            "to do", "healthcheck", "the image's HEALTHCHECK is switched off", "HEALTHCHECK NONE in a Dockerfile"
        )
        return
    if words[:1] == ["CMD"]:
        command = service.words(words[1:])
    else:
        command = [*healthcheck.SHELL, service.text(" ".join(words[words[:1] == ["CMD-SHELL"] :]))]
    if not words or not command or not command[0]:
        service.tell(
            "to do", "healthcheck", "only the times of the image's HEALTHCHECK change", "[healthcheck] with `command`"
        )
        return
    found: dict[str, Any] = {"command": command}
    for key, least in (("interval", 1), ("timeout", 1), ("start_period", 0)):
        if check.get(key):
            found[key.replace("_", "-")] = whole_seconds(check[key], least)
    if check.get("retries"):
        found["retries"] = min(max(int(check["retries"]), 1), 100)
    service.draft.settings["healthcheck"] = found
    service.draft.settings.pop("health", None)
    service.draft.rows = [row for row in service.draft.rows if row.key != "HEALTHCHECK"]
    service.tell("carried over", "healthcheck", "[healthcheck]")
    if check.get("start_interval"):
        service.tell("not carried over", "healthcheck.start_interval", "it is checked at one interval")


def whole_seconds(text: Any, least: int) -> int:
    """Return a duration in whole seconds that service.toml takes."""
    try:
        return min(max(math.ceil(healthcheck.parse_duration(str(text))), least), 3600)
    except ValueError:
        return least


def carry_resources(service: ComposeService) -> None:
    deploy = service.settings.get("deploy") or {}
    resources = deploy.get("resources") or {}
    limits, reserved = dict(resources.get("limits") or {}), dict(resources.get("reservations") or {})
    found: dict[str, Any] = {}
    memory, cpus = limits.pop("memory", None) or service.settings.get("mem_limit"), limits.pop("cpus", None)
    if memory and int(memory) > 0:
        found["memory"] = _memory(int(memory))
        service.tell(
            "carried over", "mem_limit" if "mem_limit" in service.settings else "deploy.resources", found["memory"]
        )
    if cpus := float(cpus or service.settings.get("cpus") or 0):
        found["cpus"] = cpus
        service.tell("carried over", "cpus" if service.settings.get("cpus") else "deploy.resources", f"cpus = {cpus}")
    if gpus := _gpus(service, reserved.pop("devices", None)):
        found["gpu"] = gpus
    for table, left in (("limits", limits), ("reservations", reserved)):
        for key in left:
            service.tell("not carried over", f"deploy.resources.{table}.{key}", "[resources] has memory, cpus and gpu")
    for key in deploy:
        if key not in ("resources", "replicas") and deploy[key] not in (None, {}, [], ""):
            treatment = compose_keys.treatment_of(key, compose_keys.DEPLOY_KEYS)
            service.tell(treatment.fate, f"deploy.{key}", treatment.why, treatment.instead)
    if found:
        service.draft.settings["resources"] = found
    known = known_image(str(service.settings.get("image", "")))
    is_java = service.draft.sources is not None and any(
        (service.draft.sources / name).is_file() for name in _JAVA_FILES
    )
    set_limits(service.draft, service.where(), is_large=is_java or (known is not None and known.is_large))


def _memory(size: int) -> str:
    """Return bytes as service.toml writes them, rounded up to a megabyte."""
    megabytes = math.ceil(size / _MEGABYTE)
    return f"{megabytes // 1024}g" if megabytes % 1024 == 0 else f"{megabytes}m"


def _gpus(service: ComposeService, devices: Any) -> int:
    asked = service.settings.get("gpus") or devices or []
    if not asked:
        return 0
    key = "gpus" if service.settings.get("gpus") else "deploy.resources.reservations.devices"
    entries = asked if isinstance(asked, list) else [{}]
    counts = [entry.get("count", 1) for entry in entries if isinstance(entry, Mapping)]
    total = sum(count for count in counts if isinstance(count, int) and count > 0) or 1
    service.tell("carried over", key, f"gpu = {total}")
    return total


def carry_scale(service: ComposeService) -> None:
    deploy = service.settings.get("deploy") or {}
    key = "deploy.replicas" if deploy.get("replicas") is not None else "scale"
    number = deploy.get("replicas") if deploy.get("replicas") is not None else service.settings.get("scale")
    if number is None:
        return
    if int(number) < 1:
        service.tell("to do", key, "a service has one container at least", f"--skip {service.draft.name}")
    elif service.draft.settings.get("volumes") and int(number) > 1:
        service.tell("not carried over", key, f"{number} containers could write to one volume at a time, so it is one")
    else:
        service.draft.settings["scale"] = {"min": int(number), "max": int(number)}
        service.tell("carried over", key, f"[scale] min = max = {number}")
