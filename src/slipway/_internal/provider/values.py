"""Converts between Pulumi's protobuf structs and plain Python values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2

# Fixed by Pulumi's protocol: github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/sig/sig.go
SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - it marks secrets and is not one
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Props = dict[str, Any]


@dataclass(frozen=True)
class SecretValue:
    """A value that Pulumi keeps encrypted; its `repr` hides it."""

    value: Any

    def __repr__(self) -> str:
        return "[secret]"


def from_struct(struct: struct_pb2.Struct) -> Props:
    """Return a struct's values: secrets as `SecretValue`, values that are not known yet as `UNKNOWN`."""
    return {key: _from_value(value) for key, value in struct.fields.items()}


def _from_value(value: struct_pb2.Value) -> Any:  # noqa: PLR0911 - one for each kind of value
    match value.WhichOneof("kind"):
        case "struct_value":
            inner = from_struct(value.struct_value)
            if inner.get(SIGNATURE_KEY) == SECRET_SIGNATURE:
                return SecretValue(inner["value"])
            if SIGNATURE_KEY in inner:
                raise ValueError("Slipway's resources do not accept assets, archives or resources as inputs")
            return inner
        case "list_value":
            return [_from_value(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None


def to_struct(props: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return the values as a struct: the inverse of `from_struct`."""
    return struct_pb2.Struct(fields={key: _to_value(value) for key, value in props.items()})


def _to_value(value: Any) -> struct_pb2.Value:  # noqa: PLR0911 - one for each kind of value
    if isinstance(value, SecretValue):
        return struct_pb2.Value(struct_value=to_struct({SIGNATURE_KEY: SECRET_SIGNATURE, "value": value.value}))
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=to_struct(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_to_value(item) for item in value]))
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(string_value=str(value))


def unwrap_secrets(value: Any) -> Any:
    """Return a value with its secrets unwrapped, at any depth."""
    if isinstance(value, SecretValue):
        return unwrap_secrets(value.value)
    if isinstance(value, Mapping):
        return {key: unwrap_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unwrap_secrets(item) for item in value]
    return value


def contains_secret(value: Any) -> bool:
    """Return whether a value is or contains a secret."""
    if isinstance(value, Mapping):
        return any(contains_secret(item) for item in value.values())
    return isinstance(value, SecretValue) or (isinstance(value, list) and any(map(contains_secret, value)))


def contains_unknown(value: Any) -> bool:
    """Return whether a value is or contains something that is known only after the deployment."""
    if isinstance(value, SecretValue):
        return contains_unknown(value.value)
    if isinstance(value, Mapping):
        return any(contains_unknown(item) for item in value.values())
    return value == UNKNOWN or (isinstance(value, list) and any(map(contains_unknown, value)))
