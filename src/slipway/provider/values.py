"""What crosses the wire between Pulumi and the provider: protobuf structs there, plain Python values here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2

# Fixed by Pulumi's protocol: github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/sig/sig.go
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - marks secrets, is none
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Props = dict[str, Any]


@dataclass(frozen=True)
class Secret:
    """A value that Pulumi keeps encrypted; it never shows itself."""

    value: Any

    def __repr__(self) -> str:
        return "[secret]"


def read(struct: struct_pb2.Struct) -> Props:
    """Return a struct's values; secrets come as `Secret`, what isn't known yet as `UNKNOWN`."""
    return {key: _read(value) for key, value in struct.fields.items()}


def _read(value: struct_pb2.Value) -> Any:  # noqa: PLR0911 - one for each kind of value
    match value.WhichOneof("kind"):
        case "struct_value":
            inner = read(value.struct_value)
            if inner.get(SIGNATURE) == SECRET:
                return Secret(inner["value"])
            if SIGNATURE in inner:
                raise ValueError("assets, archives and resources are no inputs of Slipway's resources")
            return inner
        case "list_value":
            return [_read(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None


def write(props: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return the values as a struct: the opposite of `read`."""
    return struct_pb2.Struct(fields={key: _write(value) for key, value in props.items()})


def _write(value: Any) -> struct_pb2.Value:  # noqa: PLR0911 - one for each kind of value
    if isinstance(value, Secret):
        return struct_pb2.Value(struct_value=write({SIGNATURE: SECRET, "value": value.value}))
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=write(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_write(item) for item in value]))
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(string_value=str(value))


def plain(value: Any) -> Any:
    """Return a value with the wrapping of its secrets taken off, at any depth."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def holds_secret(value: Any) -> bool:
    """Say whether a value is a secret or has one inside."""
    if isinstance(value, Mapping):
        return any(holds_secret(item) for item in value.values())
    return isinstance(value, Secret) or (isinstance(value, list) and any(map(holds_secret, value)))


def holds_unknown(value: Any) -> bool:
    """Say whether a value, or something inside it, is known only after the deployment."""
    if isinstance(value, Secret):
        return holds_unknown(value.value)
    if isinstance(value, Mapping):
        return any(holds_unknown(item) for item in value.values())
    return value == UNKNOWN or (isinstance(value, list) and any(map(holds_unknown, value)))
