"""Rules of images: named by digest everywhere; built by nobody, and from the release repositories, where protected."""

from __future__ import annotations

import re
from collections.abc import Iterator

from slipway.policy import Resource, Violation, containers, where_declared

DOCKER_KINDS = tuple(f"slipway:docker:{kind}" for kind in ("Container", "Job", "ReleaseCommand", "Gateway"))
BUILD_KINDS = ("docker-build:index:Image", "docker-build:index:Index", "docker:index/image:Image")
_DIGEST = re.compile(r"[^@]+@sha256:[0-9a-f]{64}")


def check_digests(resource: Resource) -> Iterator[Violation]:
    """Refuse an image that is named by a tag, or by nothing at all: what it is can change from one day to the next."""
    for name, image in images_of(resource):
        if not _DIGEST.fullmatch(image):
            yield Violation(
                f"{name} runs the image {image or '(none)'}, which is not named by a digest",
                f"Write REPOSITORY@sha256:DIGEST as its `image`, {where_declared(resource.name)}; "
                "`docker buildx imagetools inspect IMAGE` shows the digest.",
            )


def check_released(resource: Resource) -> Iterator[Violation]:
    """Refuse, in a protected stack, every build, and every image that no gate has let through."""
    found = list(images_of(resource))
    if (not found and resource.kind not in BUILD_KINDS) or not resource.stack.protected:
        return
    if resource.kind in BUILD_KINDS:
        yield Violation(
            f"{resource.name} would be built on the way into the protected stack {resource.stack_name}",
            f"Set `slipway:images: external` in infra/{resource.stack.file.name}, and put the image into the lock with "
            f"`invoke ship --stack {resource.stack_name}`.",
        )
    for name, image in found:
        if image not in resource.released_images:
            yield Violation(
                f"{name} runs {image}, which has not passed the gate, but {resource.stack_name} is protected",
                f"`invoke ship --stack {resource.stack_name}` brings the images of services and of the gateway through "
                f"the gate, and into deploy/{resource.stack_name}.lock.json. Make what else has to run a service.",
            )


def images_of(resource: Resource) -> Iterator[tuple[str, str]]:
    """Yield each image that a resource runs, with the name of the container that it is for."""
    if resource.kind in DOCKER_KINDS:
        yield resource.name, str(resource.props.get("image") or "")
    for container in containers(resource):
        yield str(container.get("name") or resource.name), str(container.get("image") or "")
