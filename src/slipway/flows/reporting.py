"""Makes the report of the last build or deploy: one file to look at, or its facts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.flows.facts import facts
from slipway.flows.layers import forget, layers_of
from slipway.flows.page import page
from slipway.model import record as records
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.files import PRIVATE, NotWritten, write_atomically
from slipway.model.masking import mask_all
from slipway.model.workspace import Workspace
from slipway.run import credentials

WORK = {"build": records.BUILDS, "deploy": records.DEPLOYS}


def of_last(workspace: Workspace, last: str | None) -> dict[str, Any]:
    """Return the facts of the last run, or of the last one that was a `build` or a `deploy`.

    Raises:
        ConfigError: `last` is neither, or no such run is on record.
    """
    if last is not None and last not in WORK:
        raise ConfigError(f"--last {last!r} is neither build nor deploy", remedy="Write --last build or --last deploy.")
    known = records.load_all(workspace.root)
    record = records.last(known, WORK[last]) if last else known[-1] if known else None
    if record is None:
        raise ConfigError(
            f"no {last or 'build or deploy'} is on record here",
            remedy="Run `invoke up` or `invoke build` first: each leaves a record in .slipway/records.",
        )
    credentials.export(workspace)
    forget(workspace, [ref for each in known for ref in each.images.values()])
    return facts(workspace, record, known, layers_of(workspace, record.images))


def write(workspace: Workspace, found: Mapping[str, Any], out: Path | None) -> Path:
    """Write the page, by default to .slipway/report.html, and return where it is.

    Raises:
        SlipwayError: it cannot be written there.
    """
    path = Path(os.path.abspath(out or workspace.scratch / "report.html"))  # noqa: PTH100 - a link stays a link
    try:
        write_atomically(path, page(mask_all(found)), mode=PRIVATE)
    except NotWritten as error:
        raise SlipwayError(error.what, remedy=f"{error.remedy} Or name another file with --out.") from error
    return path
