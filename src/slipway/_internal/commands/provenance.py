"""Turns BuildKit's record of a build (`mode=max`) into SLSA provenance v0.2 for an attestation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway._internal.model.errors import GateRefused

METADATA_KEY = "buildx.build.provenance"
WORKSTATION_BUILDER = "urn:slipway:builder:workstation"


def make_predicate(
    metadata: Mapping[str, Any], targets: Sequence[str], builder: str = WORKSTATION_BUILDER
) -> dict[str, Any]:
    """Return the provenance of one image from buildx's metadata file.

    Of an image for several platforms it is the first one's, with the materials of all. One that starts from nothing
    (`FROM scratch`) has none.

    Args:
        metadata: what buildx wrote, with BUILDX_METADATA_PROVENANCE=max.
        targets: the bake targets that it was built by, one for each platform.
        builder: who built, as an address (slsa.dev/spec/v0.2/provenance#builder.id).

    Raises:
        GateRefused: BuildKit recorded none.
    """
    parts = [
        part
        for target in targets
        for name, part in sorted((metadata.get(target) or {}).items())
        if name.partition("/")[0] == METADATA_KEY
    ]
    if len(parts) < len(targets) or not all(isinstance(part, Mapping) and part.get("buildType") for part in parts):
        raise GateRefused(
            f"{targets[0].partition('_')[0]}: BuildKit recorded no provenance of its build",
            remedy="Build it again; `invoke doctor` shows the builder and its version.",
        )
    first = dict(parts[0])
    materials = {str(material): material for part in parts for material in part.get("materials") or ()}
    return {**first, "builder": {"id": builder}, "materials": list(materials.values())}


def builder_id(environment: Mapping[str, str]) -> str:
    """Return who builds: the CI's job as GitHub and GitLab name it, else a workstation."""
    if environment.get("GITHUB_ACTIONS"):
        return f"{environment.get('GITHUB_SERVER_URL')}/{environment.get('GITHUB_WORKFLOW_REF')}"
    if environment.get("GITLAB_CI"):
        return f"{environment.get('CI_PROJECT_URL')}/-/runners/{environment.get('CI_RUNNER_ID')}"
    return WORKSTATION_BUILDER
