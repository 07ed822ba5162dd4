"""What a changelog has gained is what is new to a team."""

from __future__ import annotations

from slipway._internal.scaffold.changelog import LINES, new_entries, shorten_lines

OLD = """\
# Changelog

What changed, and
for whom.

## 1.1.0 - unreleased

- One, in a line that is long
  and goes on.
- Two.

## 1.0.0

- Zero.
"""


def test_new_versions_and_new_items_of_old_ones_are_told_below_their_headings() -> None:
    new = OLD.replace("- Two.\n", "- Two.\n- Three.\n").replace(
        "## 1.1.0", "## 1.2.0\n\n### Fixed\n\n* Four.\n\n## 1.1.0"
    )
    assert new_entries(OLD, new) == [
        "## 1.2.0",
        "### Fixed",
        "* Four.",
        "## 1.1.0 - unreleased",
        "- Three.",
    ]


def test_what_is_wrapped_or_released_anew_is_no_news() -> None:
    new = OLD.replace("is long\n  and goes", "is\n  long and goes").replace("1.1.0 - unreleased", "1.1.0 - 2026-12-01")
    assert new_entries(OLD, new.replace("What changed, and", "What has changed, and")) == []


def test_without_an_old_changelog_all_versions_are_new() -> None:
    assert new_entries("", OLD) == [line for line in OLD.splitlines()[5:] if line]


def test_a_long_one_is_cut_and_says_so() -> None:
    lines = [f"- {number}" for number in range(LINES + 3)]
    assert shorten_lines(lines[:LINES]) == lines[:LINES]
    assert shorten_lines(lines)[-1] == "… and 3 lines more in the template's CHANGELOG.md"
