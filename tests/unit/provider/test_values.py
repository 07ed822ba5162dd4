"""Values on their way between Pulumi and the provider."""

from __future__ import annotations

from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from slipway.provider.values import UNKNOWN, Secret, holds_secret, holds_unknown, plain, read, write

LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner) | inner.map(Secret)
)


@given(st.dictionaries(st.text(max_size=5), VALUES))
def test_what_is_written_is_read_again(props: dict[str, object]) -> None:
    assert read(write(props)) == props


def test_whole_numbers_come_as_integers() -> None:
    port = read(json_format.ParseDict({"port": 8000, "cpus": 0.5}, struct_pb2.Struct()))
    assert port == {"port": 8000, "cpus": 0.5}
    assert isinstance(port["port"], int)


def test_a_secret_does_not_show_itself() -> None:
    assert "open sesame" not in repr({"deep": [Secret("open sesame")]})


def test_secrets_and_unknowns_are_found_at_any_depth() -> None:
    assert holds_secret({"a": [{"b": Secret("x")}]})
    assert not holds_secret({"a": ["x"]})
    assert holds_unknown({"a": [Secret(UNKNOWN)]})
    assert not holds_unknown({"a": [Secret("x")]})


def test_plain_takes_all_wrapping_off() -> None:
    assert plain({"a": Secret({"b": [Secret("x")]})}) == {"a": {"b": ["x"]}}
