"""Conversion of values between Pulumi and the provider."""

from __future__ import annotations

from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from slipway._internal.provider.values import (
    UNKNOWN,
    SecretValue,
    contains_secret,
    contains_unknown,
    from_struct,
    to_struct,
    unwrap_secrets,
)

LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner) | inner.map(SecretValue)
)


@given(st.dictionaries(st.text(max_size=5), VALUES))
def test_what_is_written_is_read_again(props: dict[str, object]) -> None:
    assert from_struct(to_struct(props)) == props


def test_whole_numbers_come_as_integers() -> None:
    port = from_struct(json_format.ParseDict({"port": 8000, "cpus": 0.5}, struct_pb2.Struct()))
    assert port == {"port": 8000, "cpus": 0.5}
    assert isinstance(port["port"], int)


def test_a_secret_does_not_show_itself() -> None:
    assert "open sesame" not in repr({"deep": [SecretValue("open sesame")]})


def test_secrets_and_unknowns_are_found_at_any_depth() -> None:
    assert contains_secret({"a": [{"b": SecretValue("x")}]})
    assert not contains_secret({"a": ["x"]})
    assert contains_unknown({"a": [SecretValue(UNKNOWN)]})
    assert not contains_unknown({"a": [SecretValue("x")]})


def test_plain_takes_all_wrapping_off() -> None:
    assert unwrap_secrets({"a": SecretValue({"b": [SecretValue("x")]})}) == {"a": {"b": ["x"]}}
