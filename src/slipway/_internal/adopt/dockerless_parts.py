"""What the Dockerfiles that `invoke adopt` writes have in common: their bases, their user, and how they are refused."""

from __future__ import annotations

from collections.abc import Sequence

from slipway._internal.adopt.frameworks import Framework
from slipway._internal.adopt.plan import Draft
from slipway._internal.content.service_inputs import base_argument
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace

USER = "65532:65532"
NPM_MOUNTS = (
    "--mount=type=cache,id=npm,target=/root/.npm,sharing=locked \\\n"
    "    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false \\\n"
    "    --mount=type=secret,id=npmrc,target=/root/.npmrc,required=false \\\n    "
)
"""What a step that runs npm mounts: its cache, a company's CA, a private registry."""


def base_arguments(workspace: Workspace, draft: Draft, framework: Framework, *bases: str) -> str:
    """Return the arguments that name bases, with the official images as defaults for plain builds.

    Raises:
        ConfigError: the workspace has no such base.
    """
    official = workspace.settings.bases.official
    missing = [base for base in bases if base not in official]
    if missing:
        why = f"the workspace has no base {missing[0]}, which `invoke update` brings"
        raise no_dockerfile(draft, framework, why)
    return "\n".join(f"ARG {base_argument(base)}={official[base]}" for base in bases)


def no_dockerfile(draft: Draft, framework: Framework, why: str) -> ConfigError:
    """Return the error for sources that no Dockerfile can be written around."""
    return ConfigError(
        f"{draft.sources} has no Dockerfile: its sources are {framework.name}, and {why}",
        remedy="Write a Dockerfile there whose last stage runs the service, and adopt it again.",
    )


def require_npm_lock(draft: Draft, framework: Framework, names: Sequence[str]) -> None:
    """Raise ConfigError where nothing locks what npm installs."""
    if "package-lock.json" not in names:
        raise no_dockerfile(draft, framework, "there is no package-lock.json to install from (`npm install` writes it)")
