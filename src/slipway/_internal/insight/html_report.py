"""Makes the report of the last build or deploy: one HTML file, or JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway._internal.insight.image_layers import read_layers, remove_unneeded
from slipway._internal.insight.page import page
from slipway._internal.insight.report_data import collect_report_data
from slipway._internal.model import run_record as records
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.files import PRIVATE_MODE, WriteError, write_atomically
from slipway._internal.model.masking import mask_all
from slipway._internal.model.workspace import Workspace
from slipway._internal.run import credentials

COMMANDS_OF = {"build": records.BUILD_VERBS, "deploy": records.DEPLOY_VERBS}


def collect_last_run(workspace: Workspace, last: str | None) -> dict[str, Any]:
    """Return the facts of the last run, or of the last one that was a `build` or a `deploy`.

    Raises:
        ConfigError: `last` is neither, or no such run is on record.
    """
    if last is not None and last not in COMMANDS_OF:
        raise ConfigError(f"--last {last!r} is neither build nor deploy", remedy="Write --last build or --last deploy.")
    all_records = records.load_all(workspace.root)
    record = records.latest(all_records, COMMANDS_OF[last]) if last else all_records[-1] if all_records else None
    if record is None:
        raise ConfigError(
            f"no {last or 'build or deploy'} is on record here",
            remedy="Run `invoke up` or `invoke build` first: each leaves a record in .slipway/records.",
        )
    credentials.check_logins(workspace)
    remove_unneeded(workspace, [ref for run in all_records for ref in run.images.values()])
    return collect_report_data(workspace, record, all_records, read_layers(workspace, record.images))


def write_report(workspace: Workspace, report_data: Mapping[str, Any], output: Path | None) -> Path:
    """Write the page, by default to .slipway/report.html, and return where it is.

    Raises:
        SlipwayError: it cannot be written there.
    """
    path = Path(os.path.abspath(output or workspace.scratch / "report.html"))  # noqa: PTH100 - a link stays a link
    try:
        write_atomically(path, page(mask_all(report_data)), mode=PRIVATE_MODE)
    except WriteError as error:
        raise SlipwayError(error.message, remedy=f"{error.remedy} Or name another file with --out.") from error
    return path
