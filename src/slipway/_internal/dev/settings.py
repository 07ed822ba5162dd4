"""Settings that `invoke dev` cannot change itself, because Pulumi deploys them."""

from __future__ import annotations

import msgspec

from slipway._internal.model import bases_lock, lock
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.text import read_text
from slipway._internal.model.workspace import DevSettings, ServiceSettings, Workspace


class DeployedSettings(msgspec.Struct, frozen=True):
    """All that decides what runs beside the services' images: where it differs, Pulumi deploys."""

    workspace: workspaces.WorkspaceSettings
    services: dict[str, ServiceSettings]
    bases: dict[str, str]
    stack: str
    locked: dict[str, str]

    @classmethod
    def of(cls, workspace: Workspace, stack: str) -> DeployedSettings:
        """Return the settings as the files have them; what is the images' alone is left out."""
        return cls(
            workspace.settings,
            {
                service.name: msgspec.structs.replace(
                    service.settings, kind="", libs=(), target="", args={}, dev=DevSettings()
                )
                for service in workspace.services
            },
            dict(bases_lock.load(workspace.root).bases),
            read_text(workspace.root / "infra" / f"Pulumi.{stack}.yaml"),
            {name: entry.ref for name, entry in lock.load(workspace.root, stack).services.items()},
        )
