"""What is wrong with a certificate is said when it is read: before anything serves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.certificates import Authority, Issued

from slipway._internal.model.certificates import Certificate, check_certificate, check_key, parse_certificate
from slipway._internal.model.errors import ConfigError
from slipway._internal.run.process import run

HOST = "shop.example.com"
END = "-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue(HOST, "*.Api.example.com")


def read(issued: Issued) -> Certificate:
    return parse_certificate(issued.chain, "shop.pem")


def test_a_certificate_says_what_it_is_for_and_how_long(issued: Issued) -> None:
    found = read(issued)
    assert found.names == (HOST, "*.api.example.com")
    assert timedelta(days=89) < found.ends - datetime.now(UTC) <= timedelta(days=90)
    assert parse_certificate(issued.chain.replace("\n", "\r\n"), "x").pem == found.pem == issued.chain
    assert len(found.fingerprint) == 32
    check_key(found, issued.key, "the key")


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        (HOST, True),
        ("a.api.example.com", True),
        ("*.api.example.com", True),
        ("a.b.api.example.com", False),
        ("api.example.com", False),
        ("*.example.com", False),
        ("other.example.com", False),
    ],
)
def test_each_host_must_have_a_name_in_it(issued: Issued, host: str, covered: bool) -> None:
    if covered:
        assert check_certificate(read(issued), {host, ""}, "shop.pem") == ""
        return
    with pytest.raises(ConfigError, match=r"shop\.pem is not for the host .*: it is for shop\.example\.com, \*\.api"):
        check_certificate(read(issued), {HOST, host}, "shop.pem")


@pytest.mark.parametrize(("days", "warned"), [(13, True), (15, False)])
def test_one_that_expires_soon_is_warned_of(authority: Authority, days: int, warned: bool) -> None:
    warning = check_certificate(read(authority.issue(HOST, days=days)), {HOST}, "shop.pem")
    assert ("shop.pem expires in 12 days" in warning) is warned


def test_one_that_has_expired_or_is_not_valid_yet_is_refused(issued: Issued) -> None:
    found = read(issued)
    with pytest.raises(ConfigError, match="has expired"):
        check_certificate(found, {HOST}, "shop.pem", found.ends)
    with pytest.raises(ConfigError, match="is valid only from"):
        check_certificate(found, {HOST}, "shop.pem", found.begins - timedelta(seconds=1))
    assert check_certificate(found, {HOST}, "shop.pem", found.ends - timedelta(seconds=1))


def test_another_order_other_texts_and_a_key_in_the_file_are_refused(issued: Issued, authority: Authority) -> None:
    own, issuer = (f"{block}{END}" for block in issued.chain.split(END)[:2])
    for text, says in (
        (issuer + own, "certificate 2 is not of who issued certificate 1"),
        (own + authority.issue(HOST).chain, "certificate 2 is not of who issued"),
        (issued.chain + issued.key, "has a private key in it"),
        ("", "has no certificate in it"),
        (issued.key, "has a private key in it"),
        (own.replace("M", "A", 3), "certificate 1 cannot be read"),
        (own * 11, "has 11 certificates"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            parse_certificate(text, "shop.pem")
        assert caught.value.remedy and "PRIVATE KEY-----\nM" not in str(caught.value)
    assert parse_certificate(own, "x").names


def test_a_key_that_is_anothers_none_or_locked_is_refused(issued: Issued, authority: Authority) -> None:
    found = read(issued)
    words = ["openssl", "pkey", "-aes256", "-passout", "pass:x"]
    locked = run(words, stdin=issued.key, apart=True).output
    for key, says in (
        (authority.issue(HOST).key, "is not the private key of the certificate"),
        (authority.issue(HOST, rsa=True).key, "is not the private key"),
        ("", "is not the private key"),
        (issued.chain, "is not the private key"),
        (locked, "needs a password"),
    ):
        with pytest.raises(ConfigError, match=says):
            check_key(found, key, "the key")


@given(st.text(alphabet="-BEGINCERTFATD \nAM=/+", max_size=200))
def test_whatever_a_file_holds_it_is_a_certificate_or_an_error_for_users(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_certificate(text, "x")
