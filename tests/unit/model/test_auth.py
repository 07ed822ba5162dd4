"""Who may call a route is checked when the files are read; each refusal names file, line and key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.tokens import Issuer

from slipway._internal.model import workspace
from slipway._internal.model.auth import (
    AuthSettings,
    BasicSettings,
    ConsumerSettings,
    ExternalSettings,
    JwtSettings,
    KeySettings,
    spellings,
    with_files,
)
from slipway._internal.model.errors import ConfigError

WORKSPACE = """name = "shop"
registry = "127.0.0.1:5000"
[consumers.shop]
groups = ["partners"]
[consumers.bank]
"""
JWT = 'issuer = "https://i.example", audiences = ["orders"]'
PUBLIC = '{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS256"}]}'


def load(root: Path, auth: str, keys: str = PUBLIC) -> workspace.Service:
    (root / "workspace.toml").write_text(WORKSPACE)
    folder = root / "services" / "api"
    folder.mkdir(parents=True)
    (folder / "service.toml").write_text(
        f'kind = "k"\nport = 8000\n[[routes]]\npath = "/open"\n[[routes]]\npath = "/api"\nauth = {auth}\n'
    )
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "keys.json").write_text(keys)
    return workspace.load_workspace(root).service("api")


@pytest.mark.parametrize(
    ("text", "auth"),
    [
        ("{keys = true}", AuthSettings(keys=True)),
        (
            '{keys = {header = "X-Own", consumers = ["bank"], groups = ["partners"]}}',
            AuthSettings(keys=KeySettings("X-Own", ("bank",), ("partners",))),
        ),
        ("{basic = true}", AuthSettings(basic=True)),
        ('{basic = {groups = ["partners"]}}', AuthSettings(basic=BasicSettings(groups=("partners",)))),
        ('{external = "http://auth:8000/check"}', AuthSettings(external="http://auth:8000/check")),
        (
            '{external = {url = "https://auth.example", timeout = 2, send = ["X-A"], receive = ["X-B"]}}',
            AuthSettings(external=ExternalSettings("https://auth.example", 2, ("X-A",), ("X-B",))),
        ),
        (
            f'{{jwt = {{{JWT}, url = "https://i.example/keys", claims = {{scope = "orders", r = ["a", "b"]}}, '
            'headers = {sub = "X-User"}}}',
            AuthSettings(
                jwt=JwtSettings(
                    issuer="https://i.example",
                    audiences=("orders",),
                    url="https://i.example/keys",
                    claims={"scope": "orders", "r": ("a", "b")},
                    headers={"sub": "X-User"},
                )
            ),
        ),
        (
            f'{{jwt = {{{JWT}, jwks = "keys.json"}}}}',
            AuthSettings(jwt=JwtSettings("https://i.example", ("orders",), jwks="keys.json")),
        ),
    ],
)
def test_it_is_read_whole(tmp_path: Path, text: str, auth: AuthSettings) -> None:
    assert load(tmp_path, text).routes[1].auth == auth


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "names nobody who may call"),
        ("{keys = false}", "names nobody who may call"),
        ("{keys = true, basic = true}", "names both keys and basic"),
        (f'{{keys = true, jwt = {{{JWT}, jwks = "keys.json"}}}}', "names both keys and jwt"),
        ("{key = true}", "unknown key `key`"),
        ('{keys = {heading = "x"}}', "unknown key `heading`"),
        ("{keys = 1}", "expected"),
        ('{keys = {header = "Cookie"}}', "no header for this"),
        ('{keys = {header = "X-Consumer"}}', "no header for this"),
        ('{keys = {header = "X-Forwarded-For"}}', "no header for this"),
        ('{keys = {header = "a b"}}', "no header for this"),
        ('{keys = {header = "x_key"}}', "no header for this"),
        ('{keys = {consumers = ["nobody"]}}', "`consumers` names 'nobody', which workspace.toml does not have"),
        ('{basic = {groups = ["nobody"]}}', "`groups` names 'nobody', which workspace.toml does not have"),
        (f"{{jwt = {{{JWT}}}}}", "exactly one of `jwks` and `url`"),
        (f'{{jwt = {{{JWT}, jwks = "keys.json", url = "https://i.example"}}}}', "exactly one of `jwks` and `url`"),
        (f'{{jwt = {{{JWT}, url = "http://i.example/keys"}}}}', "`url` is 'http://i.example/keys'"),
        (f'{{jwt = {{{JWT}, url = "https://u:p@i.example/keys"}}}}', "`url` is"),
        (f'{{jwt = {{{JWT}, url = "https://i.example/keys?x"}}}}', "`url` is"),
        (f'{{jwt = {{{JWT}, url = "https://i.example:0/keys"}}}}', "`url` is"),
        (f'{{jwt = {{{JWT}, jwks = "keys.json", ca = "ca.pem"}}}}', "`ca` is for the server of `url`"),
        ('{jwt = {issuer = "", audiences = ["a"], jwks = "keys.json"}}', "`issuer` is ''"),
        ('{jwt = {issuer = "i", audiences = [], jwks = "keys.json"}}', "`audiences` names none"),
        ('{jwt = {issuer = "i", jwks = "keys.json"}}', "missing"),
        (f'{{jwt = {{{JWT}, jwks = "keys.json", claims = {{scope = []}}}}}}', "`claims` asks of 'scope'"),
        (f'{{jwt = {{{JWT}, jwks = "keys.json", headers = {{sub = "Authorization"}}}}}}', "no header for this"),
        (f'{{jwt = {{{JWT}, jwks = "keys.json", headers = {{a = "X-A", b = "x-a"}}}}}}', "a header of another claim"),
        (f'{{jwt = {{{JWT}, jwks = "../keys.json"}}}}', "`jwks` is '../keys.json'"),
        (f'{{jwt = {{{JWT}, jwks = "/keys.json"}}}}', "`jwks` is '/keys.json'"),
        (f'{{jwt = {{{JWT}, jwks = "none.json"}}}}', "none.json is missing"),
        ('{external = "auth"}', "`external` is 'auth'"),
        ('{external = "ftp://auth/"}', "`external` is"),
        ('{external = {url = "http://auth", timeout = 0}}', "timeout"),
        ('{external = {url = "http://auth", receive = ["Host"]}}', "no header for this"),
        ('{external = {url = "http://auth", send = ["a b"]}}', "no header"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        load(tmp_path, text)
    assert caught.value.remedy
    if "json" not in says:
        assert f"{tmp_path / 'services' / 'api' / 'service.toml'}:7" in caught.value.message


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("", "no key set"),
        ("[]", "no key set"),
        ("{}", "`keys` is no list"),
        ('{"keys": []}', "`keys` is no list"),
        ('{"keys": [], "keys": []}', "no key set"),
        ('{"keys": [1]}', "key 1 is no table"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "key 1 is of the kind 'oct'"),
        ('{"keys": [{"kty": "RSA", "n": "x", "e": "AQAB"}, {"kty": "RSA", "n": "x", "e": "AQAB", "d": "y"}]}', "key 2"),
        ('{"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "y"}]}', "key 1 is a private one"),
        ('{"keys": [{"kty": "RSA", "n": "x", "e": "AQAB", "alg": "HS256"}]}', "for the algorithm 'HS256'"),
        ('{"keys": [{"kty": "RSA", "n": "x", "e": "AQAB", "alg": "none"}]}', "for the algorithm 'none'"),
        ('{"keys": [{"n": "x"}]}', "of the kind None"),
    ],
)
def test_a_key_set_with_a_secret_or_a_shared_key_is_refused(tmp_path: Path, keys: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        load(tmp_path, f'{{jwt = {{{JWT}, jwks = "keys.json"}}}}', keys)
    assert "keys.json" in caught.value.message and caught.value.remedy


def test_public_keys_of_all_kinds_are_taken_into_the_settings(tmp_path: Path) -> None:
    keys = [Issuer.made(tmp_path, kind).jwk() for kind in ("rsa", "ec", "ed25519")]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}, indent=2))
    found = with_files(AuthSettings(jwt=JwtSettings("i", ("a",), jwks="keys.json")), tmp_path)
    assert found.jwt and json.loads(found.jwt.jwks or "") == {"keys": keys}
    assert with_files(found, tmp_path / "elsewhere") == found


def test_certificates_come_alone(tmp_path: Path) -> None:
    auth = AuthSettings(jwt=JwtSettings("i", ("a",), url="https://i", ca="ca.pem"))
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    assert (with_files(auth, tmp_path).jwt or JwtSettings("", ())).ca == (tmp_path / "ca.pem").read_text()
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match=r"ca\.pem: this holds no certificates, or more"):
        with_files(auth, tmp_path)


def test_who_is_let_in_is_who_is_named_or_in_a_group_that_is() -> None:
    consumers = {"a": ConsumerSettings(("x",)), "b": ConsumerSettings(("x", "y")), "c": ConsumerSettings()}
    assert AuthSettings(keys=True).allowed_consumers(consumers) == ("a", "b", "c")
    named = AuthSettings(basic=BasicSettings(consumers=("c", "gone"), groups=("y",)))
    assert named.allowed_consumers(consumers) == ("b", "c")


def test_a_redirect_is_for_everybody(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a route with a `redirect` reaches no service, so it has no `auth`"):
        load(tmp_path, '{keys = true}\nredirect = {path = "/new"}')


@pytest.mark.parametrize("table", ["[consumers.Shop]", '[consumers."a b"]', '[consumers.a]\ngroups = ["A"]'])
def test_consumers_have_names_that_headers_and_files_can_hold(tmp_path: Path, table: str) -> None:
    (tmp_path / "workspace.toml").write_text(f'name = "shop"\nregistry = "127.0.0.1:5000"\n{table}\n')
    with pytest.raises(ConfigError, match=r"workspace.toml:3: .* cannot name a consumer or a group"):
        workspace.load_workspace(tmp_path)


def test_all_spellings_of_a_header_are_known() -> None:
    assert sorted(spellings("X-A_B")) == ["x-a-b", "x-a_b", "x_a-b", "x_a_b"]


@pytest.mark.parametrize(
    ("auth", "by", "says"),
    [
        ("{keys = true}", "consumer", ""),
        ("{basic = true}", "consumer", ""),
        ("{keys = true}", "address", ""),
        (f'{{jwt = {{{JWT}, jwks = "keys.json"}}}}', "claim:sub", ""),
        (f'{{jwt = {{{JWT}, jwks = "keys.json"}}}}', "consumer", "does not ask for their keys"),
        ('{external = "http://auth"}', "consumer", "does not ask for their keys"),
        ("{keys = true}", "claim:sub", "by the claim 'sub', but the route does not ask for tokens"),
        ("{keys = true}", "claim:", "`by` of `limit` is 'claim:'"),
        ("{keys = true}", "claim:a b", "`by` of `limit` is 'claim:a b'"),
        ("{keys = true}", "moon", "`by` of `limit` is 'moon'"),
    ],
)
def test_a_limit_counts_what_the_route_asks_for(tmp_path: Path, auth: str, by: str, says: str) -> None:
    text = f'{auth}\nlimit = {{requests = 1, per = "day", by = "{by}"}}'
    if not says:
        found = load(tmp_path, text).routes[1].rate_limit
        assert found and found.by == by
        return
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        load(tmp_path, text)
    assert "service.toml:8" in caught.value.message and caught.value.remedy


def test_a_limit_for_all_routes_counts_consumers_only_where_all_ask_for_keys(tmp_path: Path) -> None:
    text = '{keys = true}\n[gateway]\nlimit = {requests = 1, per = "day", by = "consumer"}'
    with pytest.raises(ConfigError, match=r"service.toml:.*: `limit` counts consumers, but the route does not ask"):
        load(tmp_path, text)
