"""Test results: reading the JUnit file that a test stage wrote, making one where it wrote none, and attesting them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree

PASSED, FAILED = "PASSED", "FAILED"
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML file may hold, even escaped (www.w3.org/TR/xml/#charsets)."""


@dataclass(frozen=True)
class JUnitResults:
    """What a JUnit file says: the names of the tests that passed, and of those that did not."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]


def parse(text: str) -> JUnitResults:
    """Return what a JUnit file says; a skipped test is in neither list.

    Raises:
        ValueError: it is not a JUnit file.
    """
    passed, failed = [], []
    for case in _parse_root(text).iter("testcase"):
        name = ".".join(part for part in (case.get("classname"), case.get("name")) if part)
        children = {child.tag for child in case}
        if children & {"failure", "error"}:
            failed.append(name)
        elif "skipped" not in children:
            passed.append(name)
    return JUnitResults(tuple(passed), tuple(failed))


def merge(texts: Sequence[str]) -> str:
    """Return one JUnit file for several: a stage may write more than one, and does on more than one platform.

    Raises:
        ValueError: one is not a JUnit file.
    """
    if len(texts) == 1:
        return texts[0]
    suites = ElementTree.Element("testsuites")
    for root in map(_parse_root, texts):
        suites.extend(root if root.tag == "testsuites" else [root])
    return _to_xml(suites)


def render_stage_result(service: str, failure: str = "") -> str:
    """Return a JUnit file for a test stage that left none: one test, which is the stage itself.

    Args:
        service: its name.
        failure: how the stage failed; nothing when it passed.
    """
    suites = ElementTree.Element("testsuites")
    counts = {"tests": "1", "failures": "1" if failure else "0", "errors": "0", "skipped": "0"}
    suite = ElementTree.SubElement(suites, "testsuite", {"name": service, **counts})
    case = ElementTree.SubElement(suite, "testcase", {"classname": service, "name": "test stage"})
    if failure:
        message = _NO_XML.sub("", failure)
        ElementTree.SubElement(case, "failure", {"message": message.partition("\n")[0]}).text = message
    return _to_xml(suites)


def make_predicate(
    tests: JUnitResults, configuration: Iterable[tuple[str, str]], finished: datetime
) -> dict[str, object]:
    """Return the in-toto test result that is attested (in-toto.io/attestation/test-result/v0.1).

    Args:
        tests: what the JUnit file says.
        configuration: what was tested, and its SHA-256 in hexadecimal.
        finished: when the tests ended; the type has no key of its own for it, and allows others.
    """
    return {
        "result": FAILED if tests.failed else PASSED,
        "configuration": [{"name": name, "digest": {"sha256": digest}} for name, digest in configuration],
        "passedTests": list(tests.passed),
        "failedTests": list(tests.failed),
        "finishedOn": f"{finished.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _parse_root(text: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - of a build of this workspace
    except ElementTree.ParseError as error:
        raise ValueError(f"it is not XML: {error}") from error
    if root.tag not in ("testsuites", "testsuite"):
        raise ValueError(f"its root is <{root.tag}>")
    return root


def _to_xml(suites: ElementTree.Element) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}'
