"""The few requests that the node's own setup makes of its API server, by the standard library."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from slipway.model.errors import SlipwayError
from slipway.toolchain.cluster.config import API
from slipway.toolchain.cluster.layout import Layout

REQUEST_SECONDS = 15.0
APPLY = "application/apply-patch+yaml"
COLLECTIONS = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}
"""Where the kinds are that the node itself is given."""


def get(layout: Layout, path: str) -> Any:
    """Return what the API server answers to a path: parsed JSON, or text.

    Raises:
        OSError: it does not answer, or not with success.
    """
    return _ask(layout, "GET", path)


def apply(layout: Layout, document: Mapping[str, Any] | str, kind: str, name: str) -> None:
    """Create or change one object by server-side apply; the document is an object or its YAML.

    Raises:
        SlipwayError: the API server refused.
    """
    body = document if isinstance(document, str) else json.dumps(document)
    path = f"{COLLECTIONS[kind]}/{name}?fieldManager=slipway-cluster&force=true"
    try:
        _ask(layout, "PATCH", path, body.encode())
    except urllib.error.HTTPError as error:
        raise SlipwayError(f"the API server refused {kind} {name}: {error.code}", detail=_message(error)) from error
    except OSError as error:
        raise SlipwayError(f"the API server did not take {kind} {name}: {error}") from error


def ready(layout: Layout) -> bool:
    """Return whether the API server says that it is ready."""
    try:
        _ask(layout, "GET", "/readyz")
    except OSError:
        return False
    return True


def plain(url: str) -> bool:
    """Return whether a part says on its own loopback port that it is well."""
    anyone = ssl._create_unverified_context()  # noqa: S323 - it is asked how it is, and told nothing
    try:
        with urllib.request.urlopen(url, timeout=2, context=anyone) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _ask(layout: Layout, method: str, path: str, body: bytes | None = None) -> Any:
    keys = layout.certificates
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    headers = {"Content-Type": APPLY} if body else {}
    request = urllib.request.Request(f"{API}{path}", data=body, method=method, headers=headers)  # noqa: S310
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with direct.open(request, timeout=REQUEST_SECONDS) as answer:
        text = answer.read().decode()
    with suppress(ValueError):
        return json.loads(text)
    return text


def _message(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    with suppress(ValueError):
        return str(json.loads(text).get("message", text))
    return text
