"""What the builder can build: each platform of the workspace, on a native builder or by emulation, before any build."""

from __future__ import annotations

from collections.abc import Callable

from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.workspace import Workspace
from slipway._internal.toolchain import builder, emulation
from slipway._internal.toolchain.builder import Node
from slipway._internal.toolchain.install import ensure_tool
from slipway._internal.toolchain.installed_tools import is_accepted
from slipway._internal.toolchain.tool_catalog import find_tool

OnLine = Callable[[str], None]


def ensure_platforms(workspace: Workspace, *, install: bool = True, on_line: OnLine | None = None) -> None:
    """Make sure that every platform of the workspace can be built; nothing is asked for this machine's own alone.

    `builder.ensure` has been called.

    Raises:
        SlipwayError: a native builder does not answer, or nothing can build a platform; with what to do.
    """
    build = workspace.settings.build
    if build.builders:
        builder.register_native_builders(workspace, install=install, on_line=on_line)
    foreign = sorted({*build.platforms} - {emulation.native_platform()})
    if not foreign and not build.builders:
        return
    if builder.runs_as_process():
        emulation.ensure_emulation(
            [platform for platform in foreign if platform not in build.builders], install=install, on_line=on_line
        )
    buildx = ensure_tool("docker-buildx", install=install, on_line=on_line)
    refuse_unbuildable(workspace, builder.list_nodes(buildx, builder.builder_of(workspace), builder.buildx_folder()))


def refuse_unbuildable(workspace: Workspace, nodes: list[Node]) -> None:
    """Raise SlipwayError for a builder that does not answer or is too old, or a platform that none can build."""
    build, buildkit = workspace.settings.build, find_tool("buildkit")
    platform_of = {address: platform for platform, address in build.builders.items()}
    for node in nodes:
        platform = platform_of.get(node.address)
        what = f"the builder{f' for {platform}' if platform else ''} at {node.address}"
        if node.problem:
            remedy = "Run `invoke setup`."
            if platform:
                remedy = f'See that buildkitd runs there, or mend [build.builders] "{platform}" in workspace.toml.'
            raise SlipwayError(f"{what} does not answer", remedy=remedy, detail=node.problem)
        if not is_accepted(buildkit, node.version):  # its Dockerfile frontend lacks what Slipway counts on
            raise SlipwayError(
                f"{what} is BuildKit {node.version}, at least {buildkit.accepts} is needed",
                remedy="Install a newer one there."
                if platform
                else "An earlier Slipway started it: `invoke setup` says how to end it.",
            )
    buildable = {platform for node in nodes for platform in node.platforms}
    for platform in build.platforms:
        if platform not in buildable:
            raise SlipwayError(
                f"nothing here can build {platform}: the builder has {', '.join(sorted(buildable))}",
                remedy=emulation.manual_remedy(platform),
            )
