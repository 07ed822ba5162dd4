"""Remedies for failed builds, chosen by their last lines."""

from __future__ import annotations

import re

from slipway._internal.content.frontend import own_version
from slipway._internal.model.full_disk import is_disk_full

LOGIN_FAILED = re.compile(r"error (?:listing|getting) credentials|docker-credential-[a-z]", re.IGNORECASE)
FRONTEND = re.compile(r"(?:docker-image://|source metadata for )docker\.io/docker/dockerfile(?:-upstream)?[:@]")
UNREACHABLE = re.compile(
    r"could not resolve|name resolution|failed to establish a new connection|connection refused|network is unreachable"
    r"|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|i/o timeout|connect timeout|CERTIFICATE_VERIFY_FAILED",
    re.IGNORECASE,
)


def build_remedy(service: str, text: str) -> str:
    """Return what to do about a service's failed build.

    Args:
        service: its name.
        text: the error and the last lines of the step that failed.
    """
    if is_disk_full(text):
        return "Free some disk space (`invoke doctor` shows how much there is), then build again."
    if LOGIN_FAILED.search(text):
        return (
            "The program that keeps Docker's logins has failed, which `credsStore` or `credHelpers` in Docker's "
            "config.json names: fix it, or remove the key from that file and log in again."
        )
    if FRONTEND.search(text):
        return (
            f"The first line of services/{service}/Dockerfile asks for an image from Docker Hub, by its digest. Write "
            f"`# syntax=docker/dockerfile:1`, which needs no registry: the builder's own is {own_version()}."
        )
    if UNREACHABLE.search(text):
        return (
            "Something could not be reached: check the network and the proxy. A private index comes in as the build "
            "secret `pip-conf` or `npmrc`, a company's CA as `ca`: [build.secrets] in workspace.toml."
        )
    return f"Fix the step in services/{service}/Dockerfile or what it runs, then build again."
