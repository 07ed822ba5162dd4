"""What Pulumi's inputs, the state and the API server's objects have to do with each other. Nothing is asked here."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

from slipway._internal.provider.values import SecretValue, unwrap_secrets

Object = dict[str, Any]
Path = tuple[str | int, ...]

SKIP_AWAIT, TIMEOUT, FORCE, MANAGER, PROPAGATION, AUTONAMED = (
    f"pulumi.com/{name}"
    for name in (
        "skipAwait",
        "timeoutSeconds",
        "patchForce",
        "patchFieldManager",
        "deletionPropagationPolicy",
        "autonamed",
    )
)
INPUTS, API_VERSION, FIELD_MANAGER = "__inputs", "__initialApiVersion", "__fieldManager"
IDENTITY = ("metadata.name", "metadata.namespace")
FORCE_NEW = {
    "Deployment": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "StatefulSet": (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    "Job": ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "StorageClass": ("parameters", "provisioner"),
    "PersistentVolumeClaim": (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    "ResourceQuota": ("spec.scopes",),
    "Secret": ("type", "stringData", "data"),
    "ConfigMap": ("data", "binaryData"),
    "Service": ("spec.clusterIP",),
    "Pod": ("spec",),
}
"""Fields that make a new object of it when they change; as in the official provider's diff.go, a Pod's more roughly."""
QUANTITY = re.compile(r"^([+-]?[0-9.]+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$")
FACTORS = {"": 1, "m": Decimal("0.001"), **{unit: 1000**power for power, unit in enumerate("kMGTPE", 1)}}
FACTORS |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", 1)}


def wanted(inputs: Any) -> Any:
    """Return inputs as an object to send: secrets unwrapped, and no nulls."""
    if isinstance(inputs, dict):
        return {key: wanted(value) for key, value in inputs.items() if value is not None}
    if isinstance(inputs, list):
        return [wanted(value) for value in inputs]
    return wanted(inputs.value) if isinstance(inputs, SecretValue) else inputs


def annotations(about: Object) -> dict[str, str]:
    """Return an object's annotations."""
    return (about.get("metadata") or {}).get("annotations") or {}


def named(inputs: Object, urn: str, seed: bytes, old: Object) -> Object:
    """Return inputs with a name: their own, the old one where that was given here, else one made of the URN's name."""
    metadata = unwrap_secrets(inputs.get("metadata")) or {}
    if metadata.get("name") or metadata.get("generateName"):
        return inputs
    before = old.get("metadata") or {}
    name = before.get("name") if annotations(old).get(AUTONAMED) == "true" else None
    name = name or f"{urn.rsplit('::', 1)[1]}-{hashlib.sha256(seed).hexdigest()[:8]}"
    marked = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
    return {**inputs, "metadata": {**metadata, "name": name, "annotations": marked}}


def checkpoint(inputs: Object, live: Object, manager: str) -> Object:
    """Return what the state keeps of an object: the live one, what was wanted, and who manages it."""
    kept = with_secrets(live, inputs)
    if live.get("kind") == "Secret":
        kept |= {key: SecretValue(unwrap_secrets(kept[key])) for key in ("data", "stringData") if key in kept}
    return {**kept, INPUTS: inputs, API_VERSION: live.get("apiVersion"), FIELD_MANAGER: manager}


def with_secrets(value: Any, like: Any) -> Any:
    """Return a value in which is secret what is secret at the same place of another."""
    if isinstance(like, SecretValue):
        return SecretValue(value)
    if isinstance(value, dict) and isinstance(like, dict):
        return {key: with_secrets(item, like.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return [with_secrets(item, other) for item, other in zip(value, like, strict=True)]
    return value


def pruned(live: Any, inputs: Any) -> Any:
    """Return of a live value what inputs speak of: drift is what differs from them. Equal amounts count as equal."""
    if isinstance(live, dict) and isinstance(inputs, dict):
        found = {key: pruned(live[key], item) for key, item in inputs.items() if key in live}
        if "stringData" in inputs and isinstance(data := live.get("data"), dict):
            found["stringData"] = {
                key: _text(data[key], item) for key, item in inputs["stringData"].items() if key in data
            }
        return found
    if isinstance(live, list) and isinstance(inputs, list) and len(live) == len(inputs):
        return [pruned(item, other) for item, other in zip(live, inputs, strict=True)]
    return inputs if same(live, inputs) else live


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, or the same amount in other words: 1000m and 1."""
    if one == other:
        return True
    return (first := _amount(one)) is not None and first == _amount(other)


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield the place of each difference, and what it is: `add`, `delete` or `update`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if key not in old:
                if new[key] not in ([], {}, ""):  # the API server leaves out what is empty
                    yield (*path, key), "add"
            elif key not in new:
                yield (*path, key), "delete"
            else:
                yield from differences(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, (*path, index))
    elif not same(old, new):
        yield path, "update"


def property_path(path: Path) -> str:
    """Return a place as Pulumi writes it."""
    text = ""
    for each in path:
        if isinstance(each, int):
            text += f"[{each}]"
        elif re.fullmatch(r"[A-Za-z_$][\w$]*", each):
            text += f".{each}" if text else each
        else:
            text += f'["{each}"]'
    return text


def replaces(kind: str, path: Path) -> bool:
    """Return whether a difference at a place makes a new object of it."""
    dotted = ".".join(map(str, path))
    return any(dotted == name or dotted.startswith(f"{name}.") for name in (*IDENTITY, *FORCE_NEW.get(kind, ())))


def identity(live: Object) -> str:
    """Return an object's id: its name, with its namespace before it where it has one."""
    metadata = live["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def _text(data: str, otherwise: Any) -> Any:
    with suppress(ValueError):
        return b64decode(data).decode()
    return otherwise


def encoded(text: str) -> str:
    """Return a text as a Secret's `data` has it."""
    return b64encode(text.encode()).decode("ascii")


def _amount(value: Any) -> Decimal | None:
    found = QUANTITY.match(value) if isinstance(value, str) else None
    if found:
        with suppress(ArithmeticError):
            return Decimal(found[1]) * FACTORS[found[2] or ""]
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None
