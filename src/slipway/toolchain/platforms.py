"""What the builder can build: each platform of the workspace, on a native builder or by emulation, before any build."""

from __future__ import annotations

from collections.abc import Callable

from slipway.model.errors import SlipwayError
from slipway.model.workspace import Workspace
from slipway.toolchain import builder, emulation
from slipway.toolchain.builder import Node
from slipway.toolchain.install import ensure as ensure_tool

OnLine = Callable[[str], None]


def ensure(workspace: Workspace, *, install: bool = True, on_line: OnLine | None = None) -> None:
    """Make sure that every platform of the workspace can be built; nothing is asked for this machine's own alone.

    `builder.ensure` has been called.

    Raises:
        SlipwayError: a native builder does not answer, or nothing can build a platform; with what to do.
    """
    build = workspace.settings.build
    if build.builders:
        builder.join_natives(workspace, install=install, on_line=on_line)
    foreign = sorted({*build.platforms} - {emulation.native()})
    if not foreign and not build.builders:
        return
    if builder.as_process():
        emulation.ensure([each for each in foreign if each not in build.builders], install=install, on_line=on_line)
    buildx = ensure_tool("docker-buildx", install=install, on_line=on_line)
    refuse_unbuildable(workspace, builder.nodes(buildx, builder.name_of(workspace), builder.buildx_config()))


def refuse_unbuildable(workspace: Workspace, nodes: list[Node]) -> None:
    """Raise SlipwayError for a builder that does not answer, or a platform that none can build."""
    build = workspace.settings.build
    whose = {address: platform for platform, address in build.builders.items()}
    for node in nodes:
        if node.problem:
            platform = whose.get(node.address)
            remedy = "Run `invoke setup`."
            if platform:
                remedy = f'See that buildkitd runs there, or mend [build.builders] "{platform}" in workspace.toml.'
            raise SlipwayError(
                f"the builder{f' for {platform}' if platform else ''} at {node.address} does not answer",
                remedy=remedy,
                detail=node.problem,
            )
    can = {platform for node in nodes for platform in node.platforms}
    for platform in build.platforms:
        if platform not in can:
            raise SlipwayError(
                f"nothing here can build {platform}: the builder has {', '.join(sorted(can))}",
                remedy=emulation.by_hand(platform),
            )
