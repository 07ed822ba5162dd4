"""A YAML loader for plain data within bounds, which reads scalars as Pulumi does."""

from __future__ import annotations

from typing import Any

import yaml

from slipway._internal.model.parsing_limits import MAX_DEPTH, MAX_NODES


class BoundedLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses deep nesting, aliases that expand too far or contain themselves, and duplicate keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()

        def refuse(why: str) -> yaml.composer.ComposerError:
            return yaml.composer.ComposerError(None, None, why, event.start_mark)

        before = self._nodes
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise refuse("it is nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._sizes:
                raise refuse(f"the alias *{event.anchor} holds itself")
            self._nodes += self._sizes[event.anchor]
        else:
            self._nodes += 1
            if event.anchor:
                self._sizes[event.anchor] = self._nodes - before
        if self._nodes > MAX_NODES:
            raise refuse("it is too large")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key `{key.value}` appears twice", key.start_mark
                    )
                if key.tag != "tag:yaml.org,2002:merge":
                    seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


BoundedLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
