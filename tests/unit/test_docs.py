"""The pages that people read: links lead somewhere, prose is wrapped, and pictures ask nobody for anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from tests.conftest import ROOT, TEMPLATE

OWN_PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*OWN_PAGES, *sorted(TEMPLATE.rglob("*.md"))]
PICTURES = sorted((ROOT / "docs").glob("*.svg"))
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)|(?:src|srcset|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")
COLUMNS = 100


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    """Return a page's prose: blocks of code are emptied, and their lines stay, so that numbers are the file's."""
    return FENCED.sub(lambda found: "\n" * found[0].count("\n"), text)


def links_in(text: str) -> Iterator[str]:
    """Yield where a page's links lead to; what stands in code is none."""
    for found in LINK.finditer(re.sub(r"`[^`\n]*`", "", without_code(text))):
        yield found[1] or found[2]


def anchors_of(text: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    anchors: set[str] = set()
    for heading in HEADING.findall(without_code(text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        base = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{base}-{number}" if number else base) in anchors:
            number += 1
        anchors.add(anchor)
    return anchors


def problem_of(link: str, page: Path) -> str:
    """Return what is wrong with a link of a page; nothing where it leads elsewhere, or to what is there."""
    if ELSEWHERE.match(link):
        return ""
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return f"there is no {path}"
    if anchor and anchor not in anchors_of(target.read_text(encoding="utf-8")):
        return f"{path or page.name} has no heading #{anchor}"
    return ""


def unwrapped_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of prose that are too long and could be broken: no tables, code, or single words."""
    for number, line in enumerate(without_code(text).splitlines(), 1):
        breakable = " " in re.sub(r"^[\s>*+-]*(?:\d+\. )?", "", re.sub(r"\]\([^)]*\)", "]()", line)).strip()
        if len(line) > COLUMNS and breakable and not line.lstrip().startswith(("|", "#", "<")):
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings_that_there_are(page: Path) -> None:
    links = list(links_in(page.read_text(encoding="utf-8")))
    assert [f"{link}: {problem_of(link, page)}" for link in links if problem_of(link, page)] == []


@pytest.mark.parametrize("page", OWN_PAGES, ids=named)
def test_prose_is_wrapped(page: Path) -> None:
    assert list(unwrapped_lines(page.read_text(encoding="utf-8"))) == []


def test_the_changelog_groups_what_changed_in_each_version() -> None:
    """Each entry stands in a group: a merge that keeps both sides' lines would put some before the first."""
    groups: dict[str, list[str]] = {}
    version = group = ""
    for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            version, group = line, ""
        elif line.startswith("### "):
            group = line.removeprefix("### ")
            groups.setdefault(version, []).append(group)
        elif version and line.strip():
            assert group, f"{version} has an entry in no group: {line}"
    known = ["Added", "Changed", "Fixed"]
    assert groups and all(found == [name for name in known if name in found] for found in groups.values()), groups


@pytest.mark.parametrize("picture", PICTURES, ids=named)
def test_a_picture_asks_nobody_for_anything(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    assert re.findall(r"url\((?!#)[^)]*\)|@import[^;]*", text) == []
    references = {
        value
        for node in ElementTree.fromstring(text).iter()
        for name, value in node.attrib.items()
        if name.rpartition("}")[2] in ("href", "src") and not value.startswith("#")
    }
    assert references == set()


def test_what_is_wrong_with_a_page_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "# One `two`, three\n## A\n## A\n```sh\n# no heading [x](nowhere.md)\n```\n[a](#one-two-three) [b](#a-1) "
    page.write_text(f"{text}[c](#a-2) [d](gone.md) [e](page.md#b) `[f](code.md)` [g](https://x/y)\n", encoding="utf-8")
    links = list(links_in(page.read_text(encoding="utf-8")))
    assert links == ["#one-two-three", "#a-1", "#a-2", "gone.md", "page.md#b", "https://x/y"]
    assert [problem_of(link, page) for link in links] == [
        "",
        "",
        "page.md has no heading #a-2",
        "there is no gone.md",
        "page.md has no heading #b",
        "",
    ]


def test_a_long_line_is_one_that_could_be_broken() -> None:
    long = "word " * 30
    text = f"```\n{long}\n```\n| {long}|\n- {long}\n{'x' * 120}\n[{long.strip().replace(' ', '-')}](a.md)\n{long}"
    assert [number for number, _ in unwrapped_lines(text)] == [5, 8]
