"""Asks an authority for a certificate by ACME (RFC 8555), and answers it by HTTP-01.

The protocol is the library `acme`'s, whose makers keep Certbot. What is here is what it leaves to its users: to begin
again where a killed run ended, nonces that are refused more than once, times, and errors that say what to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway._internal.model.acme import AcmeSettings
from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import ports
from slipway._internal.run.http import parse_number, replace_unprintable

if TYPE_CHECKING:
    import requests
    from acme.client import ClientNetwork, ClientV2
    from acme.messages import AuthorizationResource, Error, OrderResource

NONCE_TRIES = 10
REQUEST_SECONDS = 30
ORDER_SECONDS = 180.0
POLL_SECONDS = 0.5
MAX_WORDS = 500
MAX_SKEW = timedelta(hours=1)
"""How far this machine's clock may be from the authority's, as certificates are renewed by it."""
CHALLENGE_REMEDY = (
    "The authority asks http://HOST/.well-known/acme-challenge/…: the name must lead to this gateway, and port 80 "
    "there to its `port`, also through firewalls and whatever is in between (`bind` under [gateway], slipway:port)."
)
REFUSAL_REMEDY = "Put right what it says; `slipway:acme: letsencrypt-staging` is for trying."
LIMIT_REMEDY = "Wait until then: asking earlier makes it later. A test belongs to `slipway:acme: letsencrypt-staging`."

Answers = Mapping[str, str]


class AcmeError(SlipwayError):
    """An authority does not issue a certificate, or cannot be asked.

    Attributes:
        retry_after: seconds for which it wants to be left alone; 0: it does not say.
        counts: whether it was asked for a certificate, so that it must not be asked again at once.
    """

    retry_after = 0.0
    counts = True


def new_key() -> str:
    """Return a new private key, PEM: elliptic, on the curve P-256."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class AcmeClient:
    """An account at an authority.

    Raises, in all it does:
        AcmeError: the authority refuses, does not answer, or is none.
    """

    def __init__(self, settings: AcmeSettings, client: ClientV2, key: Any) -> None:
        self._settings, self._client, self._key = settings, client, key

    @classmethod
    def open(cls, settings: AcmeSettings, account_key: str, now: datetime | None = None) -> AcmeClient:
        """Return the account that a key has, which is made if there is none: the authority's terms are agreed to.

        Args:
            settings: which authority, and where it may write to.
            account_key: the account's private key, PEM.
            now: what this machine's clock says.
        """
        from acme import errors, messages
        from acme.client import ClientV2

        net, key = _open_network(settings, account_key)
        with _acme_errors(settings, counts=False):
            response = net.get(settings.directory)
            _check_clock(settings, response.headers.get("Date", ""), now or datetime.now(UTC))
            client = ClientV2(messages.Directory.from_json(response.json()), net)
            contact = (f"mailto:{settings.email}",) if settings.email else ()
            wanted = messages.NewRegistration(contact=contact, terms_of_service_agreed=True)
            try:
                client.new_account(wanted)
            except errors.ConflictError as known:
                net.account = messages.RegistrationResource(body=messages.Registration(), uri=known.location)
        return cls(settings, client, key)

    def begin_order(self, certificate_key: str) -> OrderResource:
        """Return a new order for a certificate of the settings' hosts, with this private key, PEM."""
        with _acme_errors(self._settings):
            return self._client.new_order(_request(certificate_key, self._settings.hosts))

    def resume_order(self, url: str, certificate_key: str) -> OrderResource | None:
        """Return an order that an earlier run began; None where nothing comes of it any more."""
        from acme import errors, messages

        with _acme_errors(self._settings):
            try:
                body = messages.Order.from_json(self._client._post_as_get(url).json())
                if body.status == messages.STATUS_INVALID:
                    return None
                authorizations = [
                    self._client._authzr_from_response(self._client._post_as_get(at), uri=at)
                    for at in body.authorizations
                ]
            except (errors.ClientError, messages.Error):  # it is gone, or another account's
                return None
        csr = _request(certificate_key, self._settings.hosts)
        return messages.OrderResource(body=body, uri=url, authorizations=authorizations, csr_pem=csr)

    def finish_order(self, order: OrderResource, answer: Callable[[Answers], None]) -> str:
        """Prove that the hosts are the gateway's, and return the certificate with its chain, PEM.

        Args:
            order: the order.
            answer: has the gateway answer challenges: token → key authorization; returns once it does.
        """
        from acme import messages

        with _acme_errors(self._settings):
            pending = [one for one in order.authorizations if one.body.status == messages.STATUS_PENDING]
            challenges = [_http_challenge(one) for one in pending]
            proofs = [challenge.response_and_validation(self._key) for challenge in challenges]
            if proofs:
                tokens = [challenge.chall.encode("token") for challenge in challenges]
                answer({token: validation for token, (_, validation) in zip(tokens, proofs, strict=True)})
            for challenge, (response, _) in zip(challenges, proofs, strict=True):
                self._client.answer_challenge(challenge, response)
            end = time.monotonic() + ORDER_SECONDS
            for one in order.authorizations:
                self._await_valid(one, end)
            return self._finalize(order, end)

    def _await_valid(self, authorization: AuthorizationResource, end: float) -> None:
        from acme import messages

        while authorization.body.status == messages.STATUS_PENDING:
            _pause(end, self._settings)
            authorization, _ = self._client.poll(authorization)
        if authorization.body.status != messages.STATUS_VALID:
            said = next((one.error for one in authorization.body.challenges if one.error), None)
            host = authorization.body.identifier.value
            raise AcmeError(
                f"{_name(self._settings)} does not issue a certificate for {host}: {_describe(said)}",
                remedy=CHALLENGE_REMEDY.replace("HOST", host),
            )

    def _finalize(self, order: OrderResource, end: float) -> str:
        from acme import messages

        asked = False
        while True:
            body = messages.Order.from_json(self._client._post_as_get(order.uri).json())
            if body.status == messages.STATUS_VALID and body.certificate:
                return str(self._client._post_as_get(body.certificate).text)
            if body.status == messages.STATUS_INVALID:
                raise AcmeError(
                    f"{_name(self._settings)} does not issue a certificate for {', '.join(self._settings.hosts)}: "
                    f"{_describe(body.error)}",
                    remedy=REFUSAL_REMEDY,
                )
            if body.status == messages.STATUS_READY and not asked:
                asked = True
                self._client.begin_finalization(order.update(body=body))
                continue
            _pause(end, self._settings)


def _open_network(settings: AcmeSettings, account_key: str) -> tuple[ClientNetwork, Any]:
    from josepy.jwa import ES256
    from josepy.jwk import JWKEC

    from slipway import __version__

    if settings.ca_file and not Path(settings.ca_file).is_file():
        error = AcmeError(
            f"the certificates of {_name(settings)} cannot be read: there is no file {settings.ca_file}",
            remedy="`slipway:acme-ca` names it.",
        )
        error.counts = False
        raise error
    key = JWKEC.load(account_key.encode())
    net = _network_class()(key, alg=ES256, user_agent=f"slipway/{__version__} acme-python", timeout=REQUEST_SECONDS)
    if settings.ca_file:
        net.verify_ssl = settings.ca_file  # type: ignore[assignment]  # requests takes a file's path, too
    # No proxy leads back to this machine.
    net.session.trust_env = not ports.is_own_address(urlsplit(settings.directory).hostname or "")
    return net, key


@lru_cache
def _network_class() -> type[ClientNetwork]:
    """Return the library's HTTP client, which says how long to wait, and takes a new nonce more than once."""
    from acme import messages
    from acme.client import ClientNetwork

    class Network(ClientNetwork):
        @classmethod
        def _check_response(cls, response: requests.Response, content_type: str | None = None) -> requests.Response:
            try:
                return super()._check_response(response, content_type)
            except messages.Error as error:
                error.retry_after = _seconds(response.headers.get("Retry-After", ""))
                raise

        def post(self, *args: Any, **kwargs: Any) -> requests.Response:
            for _ in range(NONCE_TRIES - 1):
                try:
                    return self._post_once(*args, **kwargs)
                except messages.Error as error:
                    if error.code != "badNonce":
                        raise
            return self._post_once(*args, **kwargs)

    return Network


def _seconds(retry_after: str) -> float:
    """Return the seconds that a Retry-After means (RFC 9110, 10.2.3); 0 where it is none."""
    if (seconds := parse_number(retry_after)) is not None:
        return float(seconds)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _check_clock(settings: AcmeSettings, date: str, now: datetime) -> None:
    try:
        theirs = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return
    if theirs.tzinfo and abs(now - theirs) > MAX_SKEW:
        raise AcmeError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, and that of {_name(settings)} "
            f"{theirs:%Y-%m-%d %H:%M}: certificates would be renewed at wrong times",
            remedy="Set this machine's clock.",
        )


def _request(key: str, hosts: Sequence[str]) -> bytes:
    from acme.crypto_util import make_csr

    return make_csr(key.encode(), list(hosts))


def _http_challenge(authorization: AuthorizationResource) -> Any:
    from acme import challenges

    for challenge in authorization.body.challenges:
        if isinstance(challenge.chall, challenges.HTTP01):
            return challenge
    raise AcmeError(
        f"the authority does not offer HTTP-01 for {authorization.body.identifier.value}",
        remedy="Have the certificate issued in another way, and name it: slipway:certificate.",
    )


def _pause(end: float, settings: AcmeSettings) -> None:
    if time.monotonic() > end:
        raise AcmeError(
            f"{_name(settings)} has not issued a certificate for {', '.join(settings.hosts)} within "
            f"{ORDER_SECONDS:.0f} s",
            remedy="Try again later: the order goes on where it is.",
        )
    time.sleep(POLL_SECONDS)


@contextmanager
def _acme_errors(settings: AcmeSettings, *, counts: bool = True) -> Iterator[None]:
    """Turn what the library raises into an error that names the authority and what it said."""
    import requests
    from acme import errors, messages
    from josepy.errors import DeserializationError

    name = _name(settings)
    try:
        yield
        return
    except AcmeError as error:
        found = error
    except messages.Error as error:
        found = AcmeError(f"{name} refuses: {_describe(error)}", remedy=REFUSAL_REMEDY)
        found.retry_after = getattr(error, "retry_after", 0.0)
        counts = True
        if error.code == "rateLimited":
            found.remedy = LIMIT_REMEDY
    except requests.exceptions.SSLError as error:
        found = AcmeError(
            f"{name} has a certificate that is not trusted: {_shown(error)}",
            remedy="Name the certificates to trust: `slipway:acme-ca: FILE`.",
        )
    except requests.RequestException as error:
        found = AcmeError(
            f"{name} cannot be reached: {_shown(error)}", remedy="Check the address, the network and the proxy."
        )
        counts = False
    except (DeserializationError, errors.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        found = AcmeError(
            f"{name} does not answer as an authority does: {type(error).__name__}: {_shown(error)}",
            remedy="`slipway:acme` names the address of its directory, as its documentation has it.",
        )
    found.counts = counts
    raise found


def _name(settings: AcmeSettings) -> str:
    return f"the authority {settings.directory}"


def _describe(error: Error | None) -> str:
    """Return what the authority said, host by host where it says so."""
    if error is None:
        return "it does not say why"
    parts = [error.detail or error.title or error.typ]
    for problem in error.subproblems or ():
        host = f"{problem.identifier.value}: " if problem.identifier else ""
        parts.append(f"{host}{problem.detail or problem.title or problem.typ}")
    kind = error.code or error.typ
    return _shown(f"{'; '.join(parts)} ({kind})")


def _shown(error: object) -> str:
    text = " ".join(replace_unprintable(str(error)).split())
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"
