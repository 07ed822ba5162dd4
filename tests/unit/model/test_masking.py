"""Known secrets are struck out of every text, however they are written there."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from slipway._internal.model import masking
from slipway._internal.model.errors import GateRefused
from slipway._internal.model.masking import MASK, StreamMasker, mask, mask_all, register_secret

VALUE = 's3ntinel/Wert+für <alle> & "jeden"'


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    masking.forget_secrets()
    yield
    masking.forget_secrets()


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        f"before{VALUE}behind",
        json.dumps({"token": VALUE}),
        json.dumps({"token": VALUE}, ensure_ascii=False),
        html.escape(VALUE),
        html.escape(VALUE, quote=False),
        quote(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE),
    ],
)
def test_a_secret_is_found_as_it_is_and_encoded(written: str) -> None:
    register_secret(VALUE)
    said = mask(written)
    assert MASK in said
    assert "ntinel" not in said
    assert "jeden" not in said


@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("behind", ["", "\n", "@host"])
def test_a_secret_is_found_in_base64_wherever_it_stands_in_what_was_encoded(
    before: str, behind: str, alphabet: Callable[[bytes], bytes]
) -> None:
    secret = "sentinel??>>~~0123456789"
    register_secret(secret)
    said = mask(alphabet(f"{before}{secret}{behind}".encode()).decode())
    assert MASK in said
    assert len(said) < len(MASK) + 2 * (len(before) + len(behind)) + 6, "nothing but what stands around it is left"


def test_of_a_secret_with_several_lines_each_is_found_but_those_that_say_nothing() -> None:
    register_secret(
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcw\n}\n-----END PRIVATE KEY-----\n"
    )
    assert mask("it is MIIEvQIBADANBgkqhkiG9w0BAQEF.") == f"it is {MASK}."
    assert mask("AASCBKcw") == MASK
    assert mask("{ }") == "{ }"
    assert mask("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_base64_that_was_broken_into_lines_is_found() -> None:
    value = "".join(f"line {number} of a long secret." for number in range(20))
    register_secret(value)
    said = [mask(line) for line in base64.encodebytes(value.encode()).decode().splitlines()]
    assert said[:-1] == [MASK] * (len(said) - 1)


@pytest.mark.parametrize(
    ("text", "credential"),
    [
        ("[global]\nindex-url = https://robot:h0rse%40staple@pypi.example/simple\n", "h0rse@staple"),
        ("//npm.example/:_authToken=npm_c0rrect\nregistry=https://npm.example/\n", "npm_c0rrect"),
        ('{"auths": {}, "password": "b4ttery"}', "b4ttery"),
    ],
)
def test_the_credential_in_a_settings_file_is_found_by_itself(text: str, credential: str) -> None:
    register_secret(text)
    assert mask(f"Authorization: Bearer {credential}") == f"Authorization: Bearer {MASK}"


def test_what_is_too_short_is_left_alone_and_so_are_certificates() -> None:
    register_secret("ab")
    register_secret("x")
    register_secret("")
    register_secret("-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIE\n-----END CERTIFICATE-----\n" * 3)
    assert mask("ab x MIIDdzCCAl+gAwIBAgIE") == "ab x MIIDdzCCAl+gAwIBAgIE"


def test_the_longer_of_two_secrets_is_struck_out_as_a_whole() -> None:
    register_secret("open")
    register_secret("open sesame")
    assert mask("say open sesame, not open") == f"say {MASK}, not {MASK}"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 100])
def test_a_secret_across_the_borders_of_a_stream_is_found(size: int) -> None:
    register_secret("sentinel-0123456789")
    text = "a sentinel-0123456789 b sentinel- c sentinel-0123456789sentinel-0123456789 sent"
    stream = StreamMasker()
    parts = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join([*parts, stream.flush()]) == f"a {MASK} b sentinel- c {MASK}{MASK} sent"


def test_values_of_the_environment_that_are_named_like_secrets_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "pul-0123456789abcdef")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/home/me/passphrase")
    monkeypatch.setenv("COLOUR", "blue-as-the-sea")
    said = mask("pul-0123456789abcdef /home/me/passphrase blue-as-the-sea")
    assert said == f"{MASK} /home/me/passphrase blue-as-the-sea"


@pytest.mark.parametrize("name", ["PULUMI_BACKEND_URL", "DOCKER_HOST", "https_proxy"])
def test_a_password_in_an_address_of_the_environment_is_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "postgres://ci:Tr%40ub4dor@db.example/state")
    assert mask("cannot open postgres://ci:Tr%40ub4dor@db.example/state (Tr@ub4dor)") == (
        f"cannot open postgres://ci:{MASK}@db.example/state ({MASK})"
    )


def test_an_error_tells_no_secret() -> None:
    register_secret("sentinel")
    error = GateRefused("sentinel a", remedy="sentinel b", detail="sentinel c")
    assert [error.message, error.remedy, error.detail] == [f"{MASK} a", f"{MASK} b", f"{MASK} c"]
    assert str(error) == f"{MASK} a"


def test_what_json_holds_is_masked_before_it_is_written() -> None:
    register_secret('sen"tinel')
    assert mask_all({"a": ['sen"tinel', 1, None, {'sen"tinel': True}]}) == {"a": [MASK, 1, None, {MASK: True}]}


def test_the_environment_of_this_test_run_is_no_secret() -> None:
    assert mask(str(Path.cwd())) == str(Path.cwd())
