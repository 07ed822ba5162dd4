"""Writes `policy/kubernetes/`: the trust policy for a cluster's admission, made from `policy/` and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slipway.commands import admission
from slipway.model import stack, trust
from slipway.model.errors import EvidenceError
from slipway.model.files import write_atomically
from slipway.model.workspace import Workspace

HEADER = """\
# Generated from policy/ by `invoke keys`: do not edit. {note}
"""
POLICY_CONTROLLER = """\
For sigstore's policy-controller.
# Its release 0.13.1 verifies cosign 3's bundles for keyless identities only: an authority with a key refuses every
# image (github.com/sigstore/policy-controller/issues/1958). With key pairs, use the policy for Kyverno.
"""
KYVERNO = """\
For Kyverno 1.19 or later, which verifies bundles made with
# a key. It reads bundles of up to 10 MB, and needs a login of its own for a private registry.
"""


def files(workspace: Workspace) -> dict[Path, str]:
    """Return the text of each file of policy/kubernetes/, the same for the same policy.

    Raises:
        ConfigError: policy/ or a stack's file is wrong.
        EvidenceError: policy/ trusts nobody, so no policy can be made that admits anything.
    """
    trusted = trust.load(workspace.root)
    if trusted.empty:
        raise EvidenceError(
            "policy/ trusts nobody, so no admission policy can be made", remedy="Run `invoke keys` first."
        )
    name = f"{workspace.name}-release"
    images = patterns(workspace)
    return {
        folder(workspace) / "policy-controller.yaml": _text(
            POLICY_CONTROLLER, admission.cluster_image_policy(name, images, trusted)
        ),
        folder(workspace) / "kyverno.yaml": _text(KYVERNO, admission.kyverno_policy(name, images, trusted)),
    }


def patterns(workspace: Workspace) -> list[str]:
    """Return the patterns of all released images: in the workspace's registry, and in those that stacks have."""
    own = (stack.load(workspace.root, name, {}).registry for name in stack.names(workspace.root))
    return sorted({workspace.release_repository("*", each) for each in (None, *own)})


def folder(workspace: Workspace) -> Path:
    return workspace.root / "policy" / "kubernetes"


def stale(workspace: Workspace) -> list[Path]:
    """Return the files that are not what policy/ makes of them, missing ones too; raises what `files` does."""
    return [path for path, text in files(workspace).items() if not path.is_file() or path.read_text("utf-8") != text]


def write(workspace: Workspace) -> list[Path]:
    """Write the files that are stale, and return them; raises what `files` does."""
    made = files(workspace)
    changed = stale(workspace)
    for path in changed:
        write_atomically(path, made[path])
    return changed


def _text(note: str, document: Mapping[str, Any]) -> str:
    return HEADER.format(note=note.rstrip()) + "\n".join(_lines(document)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    """Yield a document as lines of YAML, the same on every machine: texts in quotes, or as blocks."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _under(f"{key}:", inner)
    else:
        for inner in value:
            first, *rest = _lines(inner) if isinstance(inner, Mapping) else [json.dumps(inner)]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _under(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list):
        yield key
        yield from (f"  {line}" for line in _lines(value))
    elif isinstance(value, str) and "\n" in value:
        yield f"{key} |"
        yield from (f"  {line}" for line in value.splitlines())
    else:
        yield f"{key} {json.dumps(value)}"
