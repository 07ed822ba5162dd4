"""YAML that Slipway writes reads the same for everybody, and does not change its looks."""

from __future__ import annotations

from typing import Any

import yaml

from slipway._internal.model.yaml_writer import dump_yaml

SHARED = ["on", "a longer text that goes on " * 8]
DOCUMENTS: list[dict[str, Any]] = [
    {"kind": "Policy", "spec": {"wait": 30, "strict": True, "none": [], "words": SHARED}},
    {
        "rules": [{"name": "yes", "again": SHARED, "number": "1_0", "path": "a: b # c", "quoted": 'say "é"'}],
        "key": "-----BEGIN\nabc\n-----END\n",
    },
]


def test_what_is_written_is_read_back_and_nothing_refers_to_anything_else() -> None:
    text = dump_yaml(DOCUMENTS)
    assert list(yaml.safe_load_all(text)) == DOCUMENTS
    assert "&" not in text and "*" not in text


def test_keys_stay_in_order_lists_are_indented_and_texts_are_quoted_whole_lines_or_blocks() -> None:
    assert dump_yaml(DOCUMENTS).splitlines() == [
        'kind: "Policy"',
        "spec:",
        "  wait: 30",
        "  strict: true",
        "  none: []",
        "  words:",
        '    - "on"',
        f'    - "{SHARED[1]}"',
        "---",
        "rules:",
        '  - name: "yes"',
        "    again:",
        '      - "on"',
        f'      - "{SHARED[1]}"',
        '    number: "1_0"',
        '    path: "a: b # c"',
        r'    quoted: "say \"\xE9\""',
        "key: |",
        "  -----BEGIN",
        "  abc",
        "  -----END",
    ]
