"""Checks a workspace's files: `python -m slipway.check`. Exit 2 and the reason when one is wrong."""

from __future__ import annotations

import sys

from slipway._internal.model import lock, stack, workspace
from slipway._internal.model.errors import SlipwayError
from slipway._internal.model.own_targets import refuse_shadowing_target


def main() -> int:
    """Read everything; print what was read, or what is wrong with its remedy."""
    try:
        loaded = workspace.load_workspace(workspace.find_root())
        stacks = [stack.load(loaded.root, name, {}) for name in stack.names(loaded.root)]
        for stack_settings in stacks:
            refuse_shadowing_target(loaded.root, stack_settings.target)
            lock.load(loaded.root, stack_settings.name)
    except SlipwayError as error:
        print(f"{error.message}\n{error.remedy}", file=sys.stderr)
        return error.exit_code
    print(f"{loaded.name}: {len(loaded.services)} services, {len(stacks)} stacks, nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
