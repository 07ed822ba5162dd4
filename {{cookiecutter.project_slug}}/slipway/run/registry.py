"""The one door to registries: what an image's digest is, whether it is there, and pushing one that was built.

Registries on this machine's loopback address are spoken to in plain HTTP and without the environment's
proxy; all others by HTTPS, with Docker's logins and the system's certificates.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.commands import crane as commands
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.names import LOOPBACK
from slipway.run.credentials import HUB, TIMEOUT, Authorization
from slipway.run.oci import oci_digest
from slipway.run.process import run

if TYPE_CHECKING:
    import requests

HUB_API = "registry-1.docker.io"
AT_ONCE = 16
CHALLENGES = 2  # another thread's token may be spent as well
PUSH_SECONDS = 1800.0
SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
__all__ = ["Ref", "Registry", "certificates", "digests", "oci_digest", "parse", "push"]

_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*")
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


@dataclass(frozen=True)
class Ref:
    """An image's name, taken apart: `host[:port]`, the repository there, and a tag or a digest."""

    host: str
    repository: str
    reference: str


def parse(ref: str) -> Ref:
    """Return an image reference's parts, filled up as Docker does: Docker Hub, `library/`, `latest`.

    Raises:
        ConfigError: it is no image reference.
    """
    name, _, digest = ref.partition("@")
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and (first == "localhost" or bool({".", ":"} & set(first)))
    host, path = (first, rest) if is_host else (HUB, name)
    path, colon, tag = path.rpartition(":") if ":" in path else (path, "", "")
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    reference = digest or tag or "latest"
    if not _PATH.fullmatch(path) or (colon and not tag) or ("@" in ref and not digest):
        raise ConfigError(f"{ref!r} names no image", remedy="Write host/repository:tag or host/repository@sha256:…")
    return Ref(host, path, reference)


class Registry:
    """One registry, by its host; may be used from several threads."""

    def __init__(self, host: str) -> None:
        """Args: host: `host[:port]`, as image references have it."""
        import requests
        from urllib3.util import Retry

        self.host = host
        loopback = LOOPBACK.match(host) is not None
        self._base = f"http://{host}" if loopback else f"https://{HUB_API if host == HUB else host}"
        self._session = requests.Session()
        self._session.trust_env = not loopback
        self._session.verify = certificates()
        again = Retry(3, connect=0, read=1, backoff_factor=0.2, status_forcelist=(429, 502, 503, 504))
        again.raise_on_status = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE, max_retries=again))
        self._authorization = Authorization(host)

    def ping(self) -> None:
        """Make sure that a registry answers at this address (asking for a login is an answer, too).

        Raises:
            SlipwayError: nothing answers, or no registry does.
        """
        response = self._ask("GET", "/v2/", login=False)
        if response.status_code not in (200, 401):
            raise SlipwayError(
                f"what answers at {self._base} is no registry: {response.status_code} to /v2/",
                remedy="Correct `registry` in workspace.toml.",
            )

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest (`sha256:…`) of an image by its tag or digest, or None where there is none.

        Raises:
            SlipwayError: the registry does not answer, or refuses.
        """
        path = f"/v2/{repository}/manifests/{reference}"
        response = self._ask("HEAD", path)
        if response.status_code == 404:
            return None
        self._require(response)
        found = response.headers.get("Docker-Content-Digest", "")
        if found:
            return found
        response = self._ask("GET", path)
        self._require(response)
        return f"sha256:{hashlib.sha256(response.content).hexdigest()}"

    def _ask(self, method: str, path: str, *, login: bool = True) -> requests.Response:
        import requests

        try:
            response = self._once(method, path)
            for _ in range(CHALLENGES):
                met = login and response.status_code == 401 and self._authorization.answer(self._session, response)
                if not met:
                    break
                response = self._once(method, path)
        except requests.RequestException as error:
            raise self._down(error) from error
        return response

    def _once(self, method: str, path: str) -> requests.Response:
        return self._session.request(
            method,
            f"{self._base}{path}",
            headers={"Accept": MANIFESTS},
            auth=self._authorization,
            timeout=TIMEOUT,
            allow_redirects=True,
        )

    def _down(self, error: Exception) -> SlipwayError:
        if LOOPBACK.match(self.host):
            remedy = "Run `invoke setup`, which starts the registry on this machine."
        else:
            remedy = f"Check the network and `registry` in workspace.toml; `curl {self._base}/v2/` shows more."
        return SlipwayError(f"the registry {self.host} does not answer", remedy=remedy, detail=str(error))

    def _require(self, response: requests.Response) -> None:
        if response.ok:
            return
        what = f"the registry {self.host} answers {response.status_code} {response.reason} to {response.url}"
        if response.status_code in (401, 403):
            raise SlipwayError(what, remedy=f"Run `docker login {self.host}` with an account that may read it.")
        raise SlipwayError(what, remedy="Try again; if it stays, the registry's own log says more.")


def digests(refs: Iterable[str]) -> dict[str, str | None]:
    """Return the digest of each image reference, or None where there is none; many are asked at once.

    Raises:
        ConfigError: something is no image reference.
        SlipwayError: a registry does not answer, or refuses.
    """
    parts = {ref: parse(ref) for ref in refs}
    if not parts:
        return {}
    registries = {host: Registry(host) for host in {part.host for part in parts.values()}}
    with ThreadPoolExecutor(min(AT_ONCE, len(parts))) as pool:
        asked = {
            ref: pool.submit(registries[part.host].digest, part.repository, part.reference)
            for ref, part in parts.items()
        }
        try:
            return {ref: answer.result() for ref, answer in asked.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def push(crane: Path, layout: Path, ref: str, log: Path | None = None) -> str:
    """Push an OCI layout and return its digest, having made sure that the registry holds exactly it.

    Args:
        crane: the crane binary.
        layout: the layout's folder, or an archive of it.
        ref: `host/repository:tag`.
        log: a file that gets crane's output.

    Raises:
        SlipwayError: the layout is damaged, crane failed, or the registry holds something else afterwards.
    """
    built = oci_digest(layout)
    part = parse(ref)
    result = run(commands.push(crane, layout, ref), log=log, timeout=PUSH_SECONDS)
    if result.code:
        registry = Registry(part.host)
        registry.ping()  # a registry that is down is the better news
        raise SlipwayError(
            f"{ref} was not pushed",
            remedy=f"If the registry asks for a login: `docker login {part.host}`.",
            detail=result.tail(),
            log=log,
        )
    held = Registry(part.host).digest(part.repository, part.reference)
    if held != built:
        raise SlipwayError(
            f"{ref} is {held or 'not there'} in the registry, but {built} was pushed",
            remedy="Somebody pushed the same tag meanwhile, or the registry changes images; push again.",
        )
    return built


def certificates() -> str | bool:
    """Return the file of certificates to trust: the system's, so that a company's own count; else True."""
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return next((path for path in (named, *SYSTEM_CERTIFICATES) if path and Path(path).is_file()), True)
