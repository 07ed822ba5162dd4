"""Who may call a route: `auth` of a `[[routes]]` entry, and the consumers of workspace.toml.

A route has one kind of proof: an API key, a password (a key, sent as HTTP Basic), a JWT, or another server's word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from slipway._internal.model.containers import ErrorFactory
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.names import DNS_LABEL
from slipway._internal.model.parsing import ParseError, parse_json
from slipway._internal.model.structured_files import line_of
from slipway._internal.model.text import read_text

CONSUMER_HEADER = "X-Consumer"
"""Tells a service who calls."""
KEY_HEADER = "x-api-key"
KINDS = ("keys", "basic", "jwt", "external")
KEY_TYPES = ("RSA", "EC", "OKP")
"""Kinds of public keys. A key of the kind `oct` is a secret that also signs, and what all know of it is no proof."""
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
MAX_KEYS = 100
_FILE = re.compile(r"(?!\.\.?(?:/|$))[A-Za-z0-9._-]+(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._-]+)*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_CLAIM = re.compile(r"[!-~]{1,200}")
_WORD = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,998}[\x21-\x7e])?")
_URL_PATH = re.compile(r"(?:/[!-~]*)?")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_UNSUITABLE_HEADERS = frozenset(
    {
        *("authorization", "connection", "content-length", "content-type", "cookie", "date", "forwarded", "host"),
        *("keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("via", "expect", "origin", "referer", "user-agent", "accept", "accept-encoding", "x-request-id"),
        CONSUMER_HEADER.lower(),
    }
)
"""Headers that say something else than who calls."""
_UNSUITABLE_PREFIXES = ("x-forwarded-", "x-real-", "x-envoy-", "x-slipway-", "access-control-", "sec-")


class ConsumerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A program or a team that calls with keys of its own; routes may name the groups that it is in."""

    groups: tuple[str, ...] = ()


class KeySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Keys of consumers: the header they are sent in, and whose are let in; all consumers' without any name."""

    header: str = KEY_HEADER
    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class BasicSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Keys of consumers as passwords, the consumer's name as the user's."""

    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class JwtSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tokens of an issuer, signed with one of its keys.

    Attributes:
        issuer: what the claim `iss` must be.
        audiences: `aud` must name one of them.
        jwks: the file with the issuer's public keys, beside service.toml; or their JSON text itself.
        url: where the issuer publishes them, over HTTPS.
        ca: the file with the certificates by which that server is known, if it is not publicly known; or their text.
        claims: what other claims must be, or hold.
        headers: which claims the service gets, each in a header.
        forward: whether the service gets the token.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks: str | None = None
    url: str | None = None
    ca: str | None = None
    claims: dict[str, str | tuple[str, ...]] = {}
    headers: dict[str, str] = {}
    forward: bool = False


class ExternalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another server's word: it is asked for each request, and lets it in with a status of 200.

    Attributes:
        url: where it is asked; the path of the request comes after this one's.
        timeout: the seconds that it may take; then the request is turned down.
        send: the headers of the request that it gets, besides `Authorization`.
        receive: the headers of its answer that the service gets.
    """

    url: str
    timeout: Annotated[int, Meta(ge=1, le=60)] = 5
    send: tuple[str, ...] = ()
    receive: tuple[str, ...] = ()


class AuthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`auth` of a route, which has exactly one of these."""

    keys: bool | KeySettings = False
    basic: bool | BasicSettings = False
    jwt: JwtSettings | None = None
    external: str | ExternalSettings | None = None

    @property
    def kind(self) -> str:
        """Return which of KINDS it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def key_settings(self) -> KeySettings | None:
        """Return how keys are sent; None where it is not by keys."""
        if isinstance(self.keys, KeySettings):
            return self.keys
        return KeySettings() if self.keys else None

    @property
    def basic_settings(self) -> BasicSettings | None:
        """Return whose passwords are taken; None where it is not by passwords."""
        if isinstance(self.basic, BasicSettings):
            return self.basic
        return BasicSettings() if self.basic else None

    @property
    def external_settings(self) -> ExternalSettings | None:
        """Return who is asked; None where nobody is."""
        return ExternalSettings(url=self.external) if isinstance(self.external, str) else self.external

    def allowed_consumers(self, consumers: Mapping[str, ConsumerSettings]) -> tuple[str, ...]:
        """Return who is let in of these consumers, where it is by keys or passwords."""
        settings = self.key_settings or self.basic_settings
        assert settings
        if not settings.consumers and not settings.groups:
            return tuple(sorted(consumers))
        named = {name for name, who in consumers.items() if {*who.groups} & {*settings.groups}}
        return tuple(sorted(named | {*settings.consumers} & {*consumers}))


def spellings(name: str) -> list[str]:
    """Return all headers, in lower case, that a server may take for this one: many take `_` for `-`."""
    found = [""]
    for letter in name.lower():
        found = [start + other for start in found for other in (("-", "_") if letter in "-_" else (letter,))]
    return found


def check_auth(auth: AuthSettings | None, where: tuple[str, ...], refuse: ErrorFactory) -> None:
    """Check `auth` of one route; `where` are the keys that lead to it.

    Raises:
        ConfigError: anything in it is wrong.
    """
    if auth is None:
        return
    kinds = [kind for kind in KINDS if getattr(auth, kind)]
    if len(kinds) != 1:
        raise refuse(
            where,
            f"`auth` names {'both ' + ' and '.join(kinds) if kinds else 'nobody who may call'}",
            f"Name exactly one of {', '.join(KINDS)}: auth = {{keys = true}}. Without `auth`, everybody may call.",
        )
    if keys := auth.key_settings:
        _check_header(keys.header, (*where, "keys", "header"), refuse)
    if auth.jwt:
        _check_jwt(auth.jwt, (*where, "jwt"), refuse)
    if external := auth.external_settings:
        _check_external(external, (*where, "external"), refuse)


def check_consumers(consumers: Mapping[str, ConsumerSettings], path: Path, text: str) -> None:
    """Check `[consumers.NAME]` of workspace.toml.

    Raises:
        ConfigError: a name that none can have.
    """
    for name, consumer in consumers.items():
        for word in (name, *consumer.groups):
            if not DNS_LABEL.fullmatch(word):
                raise ConfigError(
                    f"{path}:{line_of(text, ('consumers', name))}: {word!r:.80} cannot name a consumer or a group",
                    remedy="Use lower-case letters, digits and dashes, at most 40 characters: [consumers.shop].",
                )


def check_known_consumers(
    auth: AuthSettings | None,
    where: tuple[str, ...],
    consumers: Mapping[str, ConsumerSettings],
    refuse: ErrorFactory,
) -> None:
    """Check that workspace.toml has the consumers and groups that a route names.

    Raises:
        ConfigError: it lacks one.
    """
    settings = auth and (auth.key_settings or auth.basic_settings)
    if not auth or not settings:
        return
    groups = {group for consumer in consumers.values() for group in consumer.groups}
    for key, names, known in (("consumers", settings.consumers, {*consumers}), ("groups", settings.groups, groups)):
        for name in names:
            if name not in known:
                raise refuse(
                    (*where, auth.kind, key),
                    f"`{key}` names {name!r:.80}, which workspace.toml does not have",
                    f"Known there: {', '.join(sorted(known)) or f'none yet; add [consumers.{name}]'}.",
                )


def with_files(auth: AuthSettings, folder: Path) -> AuthSettings:
    """Return it with the text of its files in place of their names.

    Args:
        auth: as a service.toml has it.
        folder: the service's.

    Raises:
        ConfigError: a file is missing, holds no public keys or no certificate, or holds a secret one.
    """
    jwt = auth.jwt
    if jwt is None:
        return auth
    changed = jwt
    if jwt.jwks is not None:
        changed = msgspec.structs.replace(changed, jwks=_public_keys(jwt.jwks, folder))
    if jwt.ca is not None:
        changed = msgspec.structs.replace(changed, ca=_certificates(jwt.ca, folder))
    return msgspec.structs.replace(auth, jwt=changed)


def _check_jwt(jwt: JwtSettings, where: tuple[str, ...], refuse: ErrorFactory) -> None:
    if not _WORD.fullmatch(jwt.issuer):
        raise refuse((*where, "issuer"), f"`issuer` is {jwt.issuer!r:.80}", "Write what the tokens have as `iss`.")
    if not jwt.audiences or not all(map(_WORD.fullmatch, jwt.audiences)):
        raise refuse(
            (*where, "audiences"),
            "`audiences` names none, so that a token for another service would be taken",
            'Write what the tokens for this service have as `aud`: audiences = ["orders"].',
        )
    if (jwt.jwks is None) == (jwt.url is None):
        raise refuse(
            where,
            "`jwt` needs exactly one of `jwks` and `url`, where the issuer's public keys are",
            'Write jwks = "keys.json" (a file beside service.toml), or url = "https://…".',
        )
    if jwt.url is not None and not is_url(jwt.url, "https"):
        raise refuse(
            (*where, "url"),
            f"`url` is {jwt.url!r:.80}",
            "Write an address that begins with https://: who could change the keys on their way could let anybody in.",
        )
    if jwt.ca is not None and jwt.url is None:
        raise refuse((*where, "ca"), "`ca` is for the server of `url`, and there is none", "Remove `ca`.")
    for claim, wanted in jwt.claims.items():
        values = (wanted,) if isinstance(wanted, str) else wanted
        if not _CLAIM.fullmatch(claim) or not values or not all(map(_WORD.fullmatch, values)):
            raise refuse(
                (*where, "claims"),
                f"`claims` asks of {claim!r:.80} what no claim can be asked",
                'Write a text that it must be or hold, or a list of them: claims = {scope = "orders"}.',
            )
    names = [name.lower() for name in jwt.headers.values()]
    for claim, name in jwt.headers.items():
        _check_header(name, (*where, "headers"), refuse)
        if not _CLAIM.fullmatch(claim) or names.count(name.lower()) > 1:
            raise refuse(
                (*where, "headers"),
                f"`headers` gives {claim!r:.80} a header of another claim, or is no claim",
                'Give each claim its own header: headers = {sub = "X-User"}.',
            )


def _check_external(external: ExternalSettings, where: tuple[str, ...], refuse: ErrorFactory) -> None:
    if not is_url(external.url, "http", "https"):
        raise refuse(
            where,
            f"`external` is {external.url!r:.80}",
            'Write where it is asked, such as "http://auth:8000/check" for a service of this workspace.',
        )
    for key, names in (("send", external.send), ("receive", external.receive)):
        for name in names:
            if not _HEADER_NAME.fullmatch(name):
                raise refuse((*where, key), f"`{key}` names {name!r:.80}, no header", "Write a name such as X-Tenant.")
            if key == "receive":
                _check_header(name, (*where, key), refuse)


def _check_header(name: str, where: tuple[str, ...], refuse: ErrorFactory) -> None:
    lowered = name.lower()
    if not _HEADER_NAME.fullmatch(name) or lowered in _UNSUITABLE_HEADERS or lowered.startswith(_UNSUITABLE_PREFIXES):
        raise refuse(
            where,
            f"{name!r:.80} is no header for this",
            "Write a name of letters, digits and dashes that nothing else has, such as X-Api-Key or X-User.",
        )
    if lowered.count("-") > 6:
        raise refuse(where, f"{name!r:.80} has more than six dashes", "Choose a shorter name.")


def is_url(url: str, *schemes: str) -> bool:
    """Whether this is a plain address with one of these schemes, without a user, a query or a fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    address = parts.hostname or ""
    whole = f"{parts.scheme}://{address}{f':{port}' if port else ''}{parts.path}"
    return (
        parts.scheme in schemes
        and bool(_HOST.fullmatch(address))
        and bool(_URL_PATH.fullmatch(parts.path))
        and port != 0
        and whole == url
    )


def _public_keys(named: str, folder: Path) -> str:
    """Return a key set in its shortest form."""
    where, text = _content(named, folder, "{", "jwks")
    remedy = 'Write the set of the issuer\'s public keys, as it publishes it: {"keys": [{"kty": "RSA", …}]}.'
    try:
        found: Any = parse_json(text.encode(), dict[str, Any], unique=True)
    except ParseError as error:
        raise ConfigError(f"{where}: this is no key set: {error}", remedy=remedy) from error
    keys = found.get("keys")
    if not isinstance(keys, list) or not 0 < len(keys) <= MAX_KEYS:
        raise ConfigError(f"{where}: this is no key set: `keys` is no list of 1 to {MAX_KEYS} keys", remedy=remedy)
    for number, key in enumerate(keys):
        for problem, how in _key_problems(key):
            raise ConfigError(f"{where}: key {number + 1} {problem}", remedy=how)
    return json.dumps({"keys": keys}, sort_keys=True, separators=(",", ":"))


def _key_problems(key: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(key, dict):
        yield "is no table", "Write the issuer's public keys as it publishes them."
        return
    kind, algorithm = key.get("kty"), key.get("alg")
    if kind not in KEY_TYPES:
        yield (
            f"is of the kind {kind!r:.20}",
            f"Only public keys can be here: {', '.join(KEY_TYPES)}. Who has a key of the kind oct can sign with it.",
        )
    if secret := sorted(PRIVATE_MEMBERS & key.keys()):
        yield (
            f"is a private one: it has `{secret[0]}`",
            "Take the public part alone, and have the issuer make a new key: this one is known now.",
        )
    if algorithm is not None and algorithm not in ALGORITHMS:
        yield f"is for the algorithm {algorithm!r:.20}", f"There are {', '.join(ALGORITHMS)}."


def _certificates(named: str, folder: Path) -> str:
    where, text = _content(named, folder, "-----BEGIN", "ca")
    if _CERTIFICATE not in text or "PRIVATE KEY" in text:
        raise ConfigError(f"{where}: this holds no certificates, or more", remedy="Write certificates alone, as PEM.")
    return text


def _content(named: str, folder: Path, start: str, key: str) -> tuple[str, str]:
    """Return where a text is, for messages, and the text: a file's, or what stands in the key itself."""
    if named.lstrip().startswith(start):
        return f"{folder / 'service.toml'}: `{key}`", named
    if not _FILE.fullmatch(named):
        raise ConfigError(
            f"{folder / 'service.toml'}: `{key}` is {named!r:.80}",
            remedy="Write the name of a file beside service.toml, or below: keys.json.",
        )
    file = folder / named
    try:
        return str(file), read_text(file)
    except SlipwayError as error:
        raise ConfigError(f"{error} (`{key}` in {folder / 'service.toml'})", remedy="Put the file there.") from error


def hidden_headers(auths: Collection[AuthSettings]) -> set[str]:
    """Return the headers that routes give services after a check, which no caller may send to any route."""
    found: set[str] = set()
    for auth in auths:
        found |= {*auth.jwt.headers.values()} if auth.jwt else set()
        found |= {*auth.external_settings.receive} if auth.external_settings else set()
    return {name.lower() for name in found}
