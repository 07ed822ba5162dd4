"""Reads and writes one registry: manifests, blobs, tags, referrers; each checked against its digest."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway._internal.model.errors import GateRefused, SlipwayError
from slipway._internal.model.setting_sources import describe_registry_setting
from slipway._internal.run.http import HEADER_LIMIT, replace_unprintable
from slipway._internal.run.oci import INDEX_TYPE, MANIFEST_TYPE
from slipway._internal.run.registries.http import REQUEST_SECONDS, HttpClient, Request, Response, next_path
from slipway._internal.run.registries.references import DIGEST_PATTERN, fallback_tag

INDEX_TYPES = (INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")
ACCEPTED_MANIFESTS = ", ".join(
    (
        *INDEX_TYPES,
        MANIFEST_TYPE,
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
NO_REPOSITORY_STATUSES = (404,)
NO_API_STATUSES = (400, 404, 405, 406, 501)
NO_CATALOG_STATUSES = (*NO_API_STATUSES, 401, 403)
MAX_PAGES = 1000
MANIFEST_LIMIT, PAGE_LIMIT, LIST_LIMIT, BLOB_LIMIT = 1 << 22, 1 << 23, 1 << 26, 1 << 26
"""Bytes of a manifest (OCI's own limit), of a page of a list, of all its pages, and of a blob that is read here."""
MAX_REFERRERS = 2000
"""So many refer to no sound image; each is read, and copied with it."""
LIST_TIMEOUT_FACTOR = 10
"""All pages of a list may take as long as so many questions."""
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*rel="?next"?')


@dataclass(frozen=True)
class Manifest:
    """One manifest as the registry has it, byte for byte, and the digest of just these bytes."""

    bytes: bytes = field(repr=False)
    digest: str
    media_type: str

    @property
    def content(self) -> dict[str, Any]:
        """What it says; nothing where it is not a JSON object."""
        try:
            found = json.loads(self.bytes)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def children(self) -> tuple[dict[str, Any], ...]:
        """The descriptors of the manifests that an index lists; none for an image."""
        return tuple(_valid_descriptors(self.content.get("manifests")))

    @property
    def blobs(self) -> tuple[dict[str, Any], ...]:
        """The descriptors of an image's config and layers."""
        return (*_valid_descriptors([self.content.get("config")]), *_valid_descriptors(self.content.get("layers")))


@dataclass(frozen=True)
class Referrer:
    """A manifest that refers to an image: a signature, an attestation."""

    digest: str
    media_type: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def descriptor(self) -> dict[str, Any]:
        """Return it as an index lists it."""
        found: dict[str, Any] = {"mediaType": self.media_type, "size": self.size, "digest": self.digest}
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        return found


class Registry:
    """One registry, by its host; may be used from several threads."""

    def __init__(self, host: str, config: Path | None = None, seconds: float = REQUEST_SECONDS) -> None:
        """Remember whom to ask; nothing is asked yet.

        Args:
            host: `host[:port]`, as image references have it.
            config: the folder of a Docker config with the login (`credentials.config_of`), else the user's.
            seconds: how long one question may take, retries and login included.
        """
        self.host = host
        self._seconds = seconds
        self._http = HttpClient(host, config, seconds)

    @property
    def is_plain_http(self) -> bool:
        """Whether it speaks plain HTTP, which only a registry on this machine may."""
        return self._http.is_plain_http

    @property
    def login_command(self) -> str:
        """The command by which the user logs in to it."""
        return self._http.authorization.login_command

    def ping(self) -> None:
        """Make sure that a registry answers at this address (asking for a login is an answer, too).

        Raises:
            SlipwayError: nothing answers, or no registry does.
        """
        response = self._http.send(Request("GET", "/v2/", login=False))
        if response.status not in (200, 401):
            raise SlipwayError(
                f"what answers at {self._http.base_url} is not a registry: {response.status} to /v2/",
                remedy=f"Correct {describe_registry_setting(self.host)}.",
            )

    def resolve_digest(self, repository: str, reference: str) -> str | None:
        """Return the digest (`sha256:…`) of an image by its tag or digest, or None where there is none.

        A tag's is computed from the bytes that the registry gives for it: what it says in a header proves nothing.

        Raises:
            SlipwayError: the registry does not answer, refuses, or contradicts itself.
        """
        if not DIGEST_PATTERN.fullmatch(reference):
            manifest = self.find_manifest(repository, reference)
            return manifest.digest if manifest else None
        response = self._request_manifest("HEAD", repository, reference)
        if response is None:
            return None
        self._check_reported_digest(response, repository, reference)
        return reference

    def fetch_reported_digest(self, repository: str, reference: str) -> str | None:
        """Return the digest that the registry says an image has, or None where there is none: one HEAD request.

        Good for deciding whether to build; what is deployed or locked is asked with `resolve_digest`, which proves it.

        Raises:
            SlipwayError: the registry does not answer, or refuses.
        """
        response = self._request_manifest("HEAD", repository, reference)
        if response is None:
            return None
        reported = response.headers.get("Docker-Content-Digest", "")
        return reported if DIGEST_PATTERN.fullmatch(reported) else self.resolve_digest(repository, reference)

    def find_manifest(self, repository: str, reference: str) -> Manifest | None:
        """Return a manifest by tag or digest, or None where there is none.

        Raises:
            SlipwayError: the registry does not answer, refuses, or gives other bytes than their digest says.
        """
        response = self._request_manifest("GET", repository, reference)
        if response is None:
            return None
        digest = f"sha256:{hashlib.sha256(response.body).hexdigest()}"
        if DIGEST_PATTERN.fullmatch(reference) and digest != reference:
            raise self._digest_mismatch(repository, reference, digest)
        self._check_reported_digest(response, repository, digest)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        manifest = Manifest(response.body, digest, media_type)
        return Manifest(response.body, digest, str(manifest.content.get("mediaType") or media_type))

    def get_manifest(self, repository: str, reference: str) -> Manifest:
        """Return a manifest by tag or digest; raises as `find_manifest`, and a SlipwayError where there is none."""
        existing = self.find_manifest(repository, reference)
        if existing is None:
            raise SlipwayError(
                f"the registry {self.host} does not have {reference} in {repository}",
                remedy="It was deleted, or never pushed there.",
            )
        return existing

    def read_blob(self, repository: str, digest: str, limit: int = BLOB_LIMIT) -> bytes:
        """Return a blob of at most `limit` bytes.

        Raises:
            SlipwayError: it is not there, is longer, or its bytes are not those of its digest.
        """
        request = Request("GET", f"/v2/{repository}/blobs/{digest}", limit=limit)
        response = self._http.require_success(self._http.send(request))
        actual = f"sha256:{hashlib.sha256(response.body).hexdigest()}"
        if actual != digest:
            raise self._digest_mismatch(repository, digest, actual)
        return response.body

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """Return the repository's tags; none where there is no such repository."""
        names: list[str] = []
        for response in self._iterate_pages(f"/v2/{repository}/tags/list", NO_REPOSITORY_STATUSES):
            if response.status in NO_REPOSITORY_STATUSES:
                break
            names += self._parse_names(response, "tags")
        return tuple(dict.fromkeys(names))

    def list_repositories(self) -> tuple[str, ...] | None:
        """Return the names of all repositories; None where the registry does not tell them."""
        names: list[str] = []
        for response in self._iterate_pages("/v2/_catalog", NO_CATALOG_STATUSES):
            if response.status in NO_CATALOG_STATUSES:
                return None
            names += self._parse_names(response, "repositories")
        return tuple(dict.fromkeys(names))

    def list_referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Referrer]:
        """Return what refers to an image: by the referrers API, or by the index under the fallback tag.

        Args:
            repository: which holds the image.
            digest: the image's.
            artifact_type: only those of this type.

        Raises:
            SlipwayError: the registry does not answer, or refuses.
        """
        listed = self._list_from_referrers_api(repository, digest, artifact_type)
        if listed is None:
            index = self.find_manifest(repository, fallback_tag(digest))
            listed = list(index.children) if index else []
        if len(listed) > MAX_REFERRERS:
            raise SlipwayError(
                f"the registry {self.host} lists {len(listed)} signatures and attestations of {digest} in {repository}",
                remedy=f"More than {MAX_REFERRERS} are not read: delete there what nobody needs.",
            )
        found = {referrer["digest"]: _parse_referrer(referrer) for referrer in listed}
        return [referrer for referrer in found.values() if artifact_type in ("", referrer.artifact_type)]

    def has_referrers_api(self, repository: str, digest: str) -> bool:
        """Return whether the registry itself keeps what refers to an image."""
        return self._list_from_referrers_api(repository, digest, "") is not None

    def add_tag(self, repository: str, digest: str, tag: str) -> None:
        """Give an image a tag; a tag never moves, on any registry.

        Raises:
            GateRefused: the tag is another image's, or became it at this moment.
            SlipwayError: the image is not there, or the registry refuses.
        """
        current = self.resolve_digest(repository, tag)
        if current is None:
            self.put_manifest(repository, self.get_manifest(repository, digest), tag)
            current = self.resolve_digest(repository, tag)
        if current != digest:
            raise tag_conflict(f"{self.host}/{repository}:{tag}", current, digest)

    def put_manifest(self, repository: str, manifest: Manifest, reference: str) -> None:
        """Write a manifest under a tag or its digest, whatever was there.

        Raises:
            SlipwayError: the registry refuses.
        """
        headers = {"Content-Type": manifest.media_type}
        path = f"/v2/{repository}/manifests/{reference}"
        self._http.require_success(self._http.send(Request("PUT", path, headers, manifest.bytes)))

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Delete a manifest by its digest, and with it its tags; return whether it was there.

        Raises:
            SlipwayError: the registry refuses.
        """
        response = self._http.send(Request("DELETE", f"/v2/{repository}/manifests/{digest}"))
        if response.status == 404:
            return False
        if response.status == 405:
            raise SlipwayError(
                f"the registry {self.host} allows no deletion",
                remedy="Allow it in the registry's configuration (storage.delete.enabled), or use its own retention.",
            )
        self._http.require_success(response)
        return True

    def _request_manifest(self, method: str, repository: str, reference: str) -> Response | None:
        path = f"/v2/{repository}/manifests/{reference}"
        response = self._http.send(Request(method, path, {"Accept": ACCEPTED_MANIFESTS}, limit=MANIFEST_LIMIT))
        return None if response.status == 404 else self._http.require_success(response)

    def _check_reported_digest(self, response: Response, repository: str, digest: str) -> None:
        reported = response.headers.get("Docker-Content-Digest", "")
        if reported and reported != digest:
            raise self._digest_mismatch(repository, reported, digest)

    def _digest_mismatch(self, repository: str, expected: str, digest: str) -> SlipwayError:
        return SlipwayError(
            f"the registry {self.host} gives other bytes than {expected} in {repository}: those of {digest}",
            remedy="The registry, or something between it and this machine, changes data. Nothing of it was used.",
        )

    def _list_from_referrers_api(self, repository: str, digest: str, artifact_type: str) -> list[dict[str, Any]] | None:
        query = f"?artifactType={artifact_type.replace('+', '%2B')}" if artifact_type else ""
        descriptors: list[dict[str, Any]] = []
        for response in self._iterate_pages(f"/v2/{repository}/referrers/{digest}{query}", NO_API_STATUSES, INDEX_TYPE):
            if response.status in NO_API_STATUSES or not response.headers.get("Content-Type", "").startswith(
                INDEX_TYPE
            ):
                return None
            descriptors += _valid_descriptors(self._parse_object(response).get("manifests"))
        return descriptors

    def _iterate_pages(
        self, path: str, missing_statuses: Collection[int], accept: str = "application/json"
    ) -> Iterator[Response]:
        """Yield an answer and those that follow it; also one that says, by a missing status, that nothing is there."""
        visited: set[str] = set()
        length, expires = 0, time.monotonic() + LIST_TIMEOUT_FACTOR * self._seconds
        while path:
            response = self._http.send(Request("GET", path, {"Accept": accept}, limit=PAGE_LIMIT))
            if response.status not in missing_statuses:
                self._http.require_success(response)
            yield response
            visited.add(path)
            length += len(response.body)
            following = _NEXT.search(response.headers.get("Link", "")[:HEADER_LIMIT])
            try:
                path = next_path(following[1], path) if following else ""
            except ValueError:
                raise self._unbounded_list_error(response, "goes on at what is not an address") from None
            if path in visited:
                raise self._unbounded_list_error(response, "names a page again that was read already")
            if path and (len(visited) >= MAX_PAGES or length > LIST_LIMIT):
                raise self._unbounded_list_error(response, f"is longer than {MAX_PAGES} pages or {LIST_LIMIT >> 20} MB")
            if path and time.monotonic() > expires:
                raise self._unbounded_list_error(
                    response, f"takes longer than {LIST_TIMEOUT_FACTOR * self._seconds:.0f} s"
                )

    def _unbounded_list_error(self, response: Response, why: str) -> SlipwayError:
        return SlipwayError(
            f"the list that the registry {self.host} gives at {replace_unprintable(response.url)} {why}",
            remedy="The list cannot be read as a whole, so nothing was done with a part of it.",
        )

    def _parse_names(self, response: Response, key: str) -> list[str]:
        names = self._parse_object(response).get(key) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SlipwayError(
                f"the registry {self.host} gives no list of {key} for {replace_unprintable(response.url)}",
                remedy="The registry does not follow the OCI specification.",
            )
        return names

    def _parse_object(self, response: Response) -> dict[str, Any]:
        try:
            document = json.loads(response.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise SlipwayError(
                f"the registry {self.host} gives no JSON object for {replace_unprintable(response.url)}",
                remedy="The registry does not follow the OCI specification.",
            )
        return document


def tag_conflict(ref: str, current: str | None, wanted: str) -> GateRefused:
    """Return the error that a tag is another image's."""
    return GateRefused(
        f"{ref} is {current or 'gone again'} in the registry, and was to be {wanted}",
        remedy="Tags never move. Choose another version, or find out who pushed that one and delete it there.",
    )


def _valid_descriptors(entries: object) -> Iterator[dict[str, Any]]:
    for descriptor in entries if isinstance(entries, list) else []:
        if isinstance(descriptor, dict) and DIGEST_PATTERN.fullmatch(str(descriptor.get("digest"))):
            yield descriptor


def _parse_referrer(descriptor: Mapping[str, Any]) -> Referrer:
    annotations = descriptor.get("annotations")
    return Referrer(
        str(descriptor["digest"]),
        str(descriptor.get("mediaType", "")),
        size if isinstance(size := descriptor.get("size"), int) else 0,
        str(descriptor.get("artifactType") or ""),
        {str(key): str(value) for key, value in annotations.items()} if isinstance(annotations, dict) else {},
    )
