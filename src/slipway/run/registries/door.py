"""What one registry holds: manifests, blobs, tags, what refers to an image; each checked against its digest."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.model.errors import GateRefused, SlipwayError
from slipway.model.origins import registry_setting
from slipway.run.http import HEADER_LIMIT, printable
from slipway.run.oci import INDEX, MANIFEST
from slipway.run.registries.names import DIGEST, fallback_tag
from slipway.run.registries.wire import SECONDS, Answer, Question, Wire, next_path

INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ", ".join(
    (
        *INDEXES,
        MANIFEST,
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
NO_REPOSITORY = (404,)
NO_API = (400, 404, 405, 406, 501)
NO_CATALOG = (*NO_API, 401, 403)
PAGES = 1000
MANIFEST_LIMIT, PAGE_LIMIT, LIST_LIMIT, BLOB_LIMIT = 1 << 22, 1 << 23, 1 << 26, 1 << 26
"""Bytes of a manifest (OCI's own limit), of a page of a list, of all its pages, and of a blob that is read here."""
MOST_REFERRERS = 2000
"""So many refer to no sound image; each is read, and copied with it."""
LIST_TIMES = 10
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
        """What it says; nothing where it is no JSON object."""
        try:
            found = json.loads(self.bytes)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def children(self) -> tuple[dict[str, Any], ...]:
        """The descriptors of the manifests that an index lists; none for an image."""
        return tuple(_descriptors(self.content.get("manifests")))

    @property
    def blobs(self) -> tuple[dict[str, Any], ...]:
        """The descriptors of an image's config and layers."""
        return (*_descriptors([self.content.get("config")]), *_descriptors(self.content.get("layers")))


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

    def __init__(self, host: str, config: Path | None = None, seconds: float = SECONDS) -> None:
        """Remember whom to ask; nothing is asked yet.

        Args:
            host: `host[:port]`, as image references have it.
            config: the folder of a Docker config with the login (`credentials.config_of`), else the user's.
            seconds: how long one question may take, retries and login included.
        """
        self.host = host
        self._seconds = seconds
        self._wire = Wire(host, config, seconds)

    @property
    def plain(self) -> bool:
        """Whether it speaks plain HTTP, which only a registry on this machine may."""
        return self._wire.plain

    @property
    def login_command(self) -> str:
        """The command by which the user logs in to it."""
        return self._wire.authorization.command

    def ping(self) -> None:
        """Make sure that a registry answers at this address (asking for a login is an answer, too).

        Raises:
            SlipwayError: nothing answers, or no registry does.
        """
        answer = self._wire.ask(Question("GET", "/v2/", login=False))
        if answer.status not in (200, 401):
            raise SlipwayError(
                f"what answers at {self._wire.base} is no registry: {answer.status} to /v2/",
                remedy=f"Correct {registry_setting(self.host)}.",
            )

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest (`sha256:…`) of an image by its tag or digest, or None where there is none.

        A tag's is computed from the bytes that the registry gives for it: what it says in a header proves nothing.

        Raises:
            SlipwayError: the registry does not answer, refuses, or contradicts itself.
        """
        if not DIGEST.fullmatch(reference):
            found = self.find(repository, reference)
            return found.digest if found else None
        answer = self._manifest("HEAD", repository, reference)
        if answer is None:
            return None
        self._agree(answer, repository, reference)
        return reference

    def head(self, repository: str, reference: str) -> str | None:
        """Return the digest that the registry says an image has, or None where there is none: one HEAD request.

        Good for deciding whether to build; what is deployed or locked is asked with `digest`, which proves it.

        Raises:
            SlipwayError: the registry does not answer, or refuses.
        """
        answer = self._manifest("HEAD", repository, reference)
        if answer is None:
            return None
        said = answer.headers.get("Docker-Content-Digest", "")
        return said if DIGEST.fullmatch(said) else self.digest(repository, reference)

    def find(self, repository: str, reference: str) -> Manifest | None:
        """Return a manifest by tag or digest, or None where there is none.

        Raises:
            SlipwayError: the registry does not answer, refuses, or gives other bytes than their digest says.
        """
        answer = self._manifest("GET", repository, reference)
        if answer is None:
            return None
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if DIGEST.fullmatch(reference) and digest != reference:
            raise self._other_bytes(repository, reference, digest)
        self._agree(answer, repository, digest)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        manifest = Manifest(answer.body, digest, kind)
        return Manifest(answer.body, digest, str(manifest.content.get("mediaType") or kind))

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Return a manifest by tag or digest; raises as `find` does, and a SlipwayError where there is none."""
        found = self.find(repository, reference)
        if found is None:
            raise SlipwayError(
                f"the registry {self.host} does not have {reference} in {repository}",
                remedy="It was deleted, or never pushed there.",
            )
        return found

    def blob(self, repository: str, digest: str, limit: int = BLOB_LIMIT) -> bytes:
        """Return a blob of at most `limit` bytes.

        Raises:
            SlipwayError: it is not there, is longer, or its bytes are not those of its digest.
        """
        question = Question("GET", f"/v2/{repository}/blobs/{digest}", limit=limit)
        answer = self._wire.require(self._wire.ask(question))
        found = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if found != digest:
            raise self._other_bytes(repository, digest, found)
        return answer.body

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return the repository's tags; none where there is no such repository."""
        found: list[str] = []
        for answer in self._pages(f"/v2/{repository}/tags/list", NO_REPOSITORY):
            if answer.status in NO_REPOSITORY:
                break
            found += self._names(answer, "tags")
        return tuple(dict.fromkeys(found))

    def catalog(self) -> tuple[str, ...] | None:
        """Return the names of all repositories; None where the registry does not tell them."""
        found: list[str] = []
        for answer in self._pages("/v2/_catalog", NO_CATALOG):
            if answer.status in NO_CATALOG:
                return None
            found += self._names(answer, "repositories")
        return tuple(dict.fromkeys(found))

    def referrers(self, repository: str, digest: str, artifact_type: str = "") -> list[Referrer]:
        """Return what refers to an image: by the referrers API, or by the index under the fallback tag.

        Args:
            repository: which holds the image.
            digest: the image's.
            artifact_type: only those of this type.

        Raises:
            SlipwayError: the registry does not answer, or refuses.
        """
        listed = self._from_api(repository, digest, artifact_type)
        if listed is None:
            index = self.find(repository, fallback_tag(digest))
            listed = list(index.children) if index else []
        if len(listed) > MOST_REFERRERS:
            raise SlipwayError(
                f"the registry {self.host} lists {len(listed)} signatures and attestations of {digest} in {repository}",
                remedy=f"More than {MOST_REFERRERS} are not read: delete there what nobody needs.",
            )
        found = {each["digest"]: _referrer(each) for each in listed}
        return [each for each in found.values() if artifact_type in ("", each.artifact_type)]

    def has_referrers_api(self, repository: str, digest: str) -> bool:
        """Return whether the registry itself keeps what refers to an image."""
        return self._from_api(repository, digest, "") is not None

    def tag(self, repository: str, digest: str, tag: str) -> None:
        """Give an image a tag; a tag never moves, on any registry.

        Raises:
            GateRefused: the tag is another image's, or became it at this moment.
            SlipwayError: the image is not there, or the registry refuses.
        """
        held = self.digest(repository, tag)
        if held is None:
            self.put(repository, self.manifest(repository, digest), tag)
            held = self.digest(repository, tag)
        if held != digest:
            raise immutable(f"{self.host}/{repository}:{tag}", held, digest)

    def put(self, repository: str, manifest: Manifest, reference: str) -> None:
        """Write a manifest under a tag or its digest, whatever was there.

        Raises:
            SlipwayError: the registry refuses.
        """
        headers = {"Content-Type": manifest.media_type}
        path = f"/v2/{repository}/manifests/{reference}"
        self._wire.require(self._wire.ask(Question("PUT", path, headers, manifest.bytes)))

    def delete(self, repository: str, digest: str) -> bool:
        """Delete a manifest by its digest, and with it its tags; return whether it was there.

        Raises:
            SlipwayError: the registry refuses.
        """
        answer = self._wire.ask(Question("DELETE", f"/v2/{repository}/manifests/{digest}"))
        if answer.status == 404:
            return False
        if answer.status == 405:
            raise SlipwayError(
                f"the registry {self.host} allows no deletion",
                remedy="Allow it in the registry's configuration (storage.delete.enabled), or use its own retention.",
            )
        self._wire.require(answer)
        return True

    def _manifest(self, method: str, repository: str, reference: str) -> Answer | None:
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self._wire.ask(Question(method, path, {"Accept": MANIFESTS}, limit=MANIFEST_LIMIT))
        return None if answer.status == 404 else self._wire.require(answer)

    def _agree(self, answer: Answer, repository: str, digest: str) -> None:
        said = answer.headers.get("Docker-Content-Digest", "")
        if said and said != digest:
            raise self._other_bytes(repository, said, digest)

    def _other_bytes(self, repository: str, said: str, digest: str) -> SlipwayError:
        return SlipwayError(
            f"the registry {self.host} gives other bytes than {said} in {repository}: those of {digest}",
            remedy="It is damaged or not to be trusted, or something between changes what it sends: nothing was used.",
        )

    def _from_api(self, repository: str, digest: str, artifact_type: str) -> list[dict[str, Any]] | None:
        query = f"?artifactType={artifact_type.replace('+', '%2B')}" if artifact_type else ""
        found: list[dict[str, Any]] = []
        for answer in self._pages(f"/v2/{repository}/referrers/{digest}{query}", NO_API, INDEX):
            if answer.status in NO_API or not answer.headers.get("Content-Type", "").startswith(INDEX):
                return None
            found += _descriptors(self._object(answer).get("manifests"))
        return found

    def _pages(self, path: str, lacking: Collection[int], accept: str = "application/json") -> Iterator[Answer]:
        """Yield an answer and those that follow it; one that says, in a number of `lacking`, that nothing is there."""
        asked: set[str] = set()
        length, expires = 0, time.monotonic() + LIST_TIMES * self._seconds
        while path:
            answer = self._wire.ask(Question("GET", path, {"Accept": accept}, limit=PAGE_LIMIT))
            if answer.status not in lacking:
                self._wire.require(answer)
            yield answer
            asked.add(path)
            length += len(answer.body)
            following = _NEXT.search(answer.headers.get("Link", "")[:HEADER_LIMIT])
            try:
                path = next_path(following[1], path) if following else ""
            except ValueError:
                raise self._endless(answer, "goes on at what is no address") from None
            if path in asked:
                raise self._endless(answer, "names a page again that was read already")
            if path and (len(asked) >= PAGES or length > LIST_LIMIT):
                raise self._endless(answer, f"is longer than {PAGES} pages or {LIST_LIMIT >> 20} MB")
            if path and time.monotonic() > expires:
                raise self._endless(answer, f"takes longer than {LIST_TIMES * self._seconds:.0f} s")

    def _endless(self, answer: Answer, why: str) -> SlipwayError:
        return SlipwayError(
            f"the list that the registry {self.host} gives at {printable(answer.url)} {why}",
            remedy="It has no end, or is not to be read whole: nothing was done with a part of it.",
        )

    def _names(self, answer: Answer, key: str) -> list[str]:
        found = self._object(answer).get(key) or []
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise SlipwayError(
                f"the registry {self.host} gives no list of {key} for {printable(answer.url)}",
                remedy="It is no sound registry.",
            )
        return found

    def _object(self, answer: Answer) -> dict[str, Any]:
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise SlipwayError(
                f"the registry {self.host} gives no JSON object for {printable(answer.url)}",
                remedy="It is no sound registry.",
            )
        return found


def immutable(ref: str, held: str | None, wanted: str) -> GateRefused:
    """Return the error that a tag is another image's."""
    return GateRefused(
        f"{ref} is {held or 'gone again'} in the registry, and was to be {wanted}",
        remedy="Tags never move. Choose another version, or find out who pushed that one and delete it there.",
    )


def _descriptors(found: object) -> Iterator[dict[str, Any]]:
    for each in found if isinstance(found, list) else []:
        if isinstance(each, dict) and DIGEST.fullmatch(str(each.get("digest"))):
            yield each


def _referrer(found: Mapping[str, Any]) -> Referrer:
    annotations = found.get("annotations")
    return Referrer(
        str(found["digest"]),
        str(found.get("mediaType", "")),
        size if isinstance(size := found.get("size"), int) else 0,
        str(found.get("artifactType") or ""),
        {str(key): str(value) for key, value in annotations.items()} if isinstance(annotations, dict) else {},
    )
