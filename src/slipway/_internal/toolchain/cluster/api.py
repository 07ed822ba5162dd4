"""The few requests that the node's own setup makes of its API server, by the standard library."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from slipway._internal.model.errors import SlipwayError
from slipway._internal.toolchain.cluster.config import API_URL
from slipway._internal.toolchain.cluster.layout import NodeLayout

REQUEST_SECONDS = 15.0
APPLY_TYPE = "application/apply-patch+yaml"
COLLECTION_PATHS = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}
"""Where the kinds are that the node itself is given."""


def get_path(layout: NodeLayout, path: str) -> Any:
    """Return what the API server answers to a path: parsed JSON, or text.

    Raises:
        OSError: it does not answer, or not with success.
    """
    return _request(layout, "GET", path)


def apply_object(layout: NodeLayout, document: Mapping[str, Any] | str, kind: str, name: str) -> None:
    """Create or change one object by server-side apply; the document is an object or its YAML.

    Raises:
        SlipwayError: the API server refused.
    """
    body = document if isinstance(document, str) else json.dumps(document)
    path = f"{COLLECTION_PATHS[kind]}/{name}?fieldManager=slipway-cluster&force=true"
    try:
        _request(layout, "PATCH", path, body.encode())
    except urllib.error.HTTPError as error:
        raise SlipwayError(
            f"the API server refused {kind} {name}: {error.code}", detail=_error_message(error)
        ) from error
    except OSError as error:
        raise SlipwayError(f"the API server did not take {kind} {name}: {error}") from error


def is_api_ready(layout: NodeLayout) -> bool:
    """Return whether the API server says that it is ready."""
    try:
        _request(layout, "GET", "/readyz")
    except OSError:
        return False
    return True


def is_healthy(url: str) -> bool:
    """Return whether a part says on its own loopback port that it is well."""
    unverified = ssl._create_unverified_context()  # noqa: S323 - it is asked how it is, and told nothing
    try:
        with urllib.request.urlopen(url, timeout=2, context=unverified) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False


def _request(layout: NodeLayout, method: str, path: str, body: bytes | None = None) -> Any:
    keys = layout.certificates
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    headers = {"Content-Type": APPLY_TYPE} if body else {}
    request = urllib.request.Request(f"{API_URL}{path}", data=body, method=method, headers=headers)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(request, timeout=REQUEST_SECONDS) as response:
        text = response.read().decode()
    with suppress(ValueError):
        return json.loads(text)
    return text


def _error_message(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    with suppress(ValueError):
        return str(json.loads(text).get("message", text))
    return text
