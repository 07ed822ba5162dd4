"""What a test stage left is read as it is, and what is made in its place can be read by whoever reads such files."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from slipway._internal.commands import junit

PYTEST = """\
<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
<testcase classname="tests.test_api" name="test_it_answers" time="0.1" />
<testcase classname="tests.test_api" name="test_it_counts"><failure message="assert 1 == 2">…</failure></testcase>
<testcase classname="tests.test_api" name="test_it_starts"><error message="boom">…</error></testcase>
<testcase classname="tests.test_api" name="test_later"><skipped message="not yet" /></testcase>
</testsuite></testsuites>
"""
NODE = """\
<testsuites><testcase name="the page shows" classname="test"/>
<testsuite name="inner"><testcase name="deep"/></testsuite></testsuites>
"""


def test_each_test_is_passed_or_failed_and_a_skipped_one_is_neither() -> None:
    assert junit.parse(PYTEST) == junit.JUnitResults(
        ("tests.test_api.test_it_answers",), ("tests.test_api.test_it_counts", "tests.test_api.test_it_starts")
    )


def test_tests_are_found_at_any_depth_and_with_or_without_a_class() -> None:
    assert junit.parse(NODE) == junit.JUnitResults(("test.the page shows", "deep"), ())
    assert junit.parse('<testsuite><testcase name="a"/></testsuite>') == junit.JUnitResults(("a",), ())


@pytest.mark.parametrize(
    "text", ["", "<testsuites>", "<html/>", "no XML", '{"tests": 1}', "<testsuites>\x00</testsuites>"]
)
def test_what_is_no_junit_file_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is not XML|its root is"):
        junit.parse(text)


def test_a_stage_that_left_no_file_is_one_test() -> None:
    assert junit.parse(junit.render_stage_result("api")) == junit.JUnitResults(("api.test stage",), ())
    assert junit.parse(junit.render_stage_result("api", "step [test 8/8] failed\nassert 1 == 2")) == junit.JUnitResults(
        (), ("api.test stage",)
    )


def test_whatever_a_failing_stage_says_the_file_can_be_read_and_has_it() -> None:
    text = junit.render_stage_result("api", 'a & b < "c"\n\x1b[31mred\x1b[0m\x00 ]]> \ufffe\uffff\ttab ünïcode')
    assert junit.parse(text).failed == ("api.test stage",)
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>')
    assert "[31mred[0m" in text and "tab ünïcode" in text
    assert 'failures="1"' in text and 'message="a &amp; b &lt; &quot;c&quot;"' in text
    assert junit.parse(junit.render_stage_result("api", "\x07")).failed == ("api.test stage",)


def test_what_is_attested_says_what_was_tested_and_how_that_ended() -> None:
    ended = datetime(2026, 11, 23, 12, 0, tzinfo=timezone(timedelta(hours=1)))
    predicate = junit.make_predicate(junit.JUnitResults(("a", "b"), ()), [("services/api", "c" * 64)], ended)
    assert predicate == {
        "result": "PASSED",
        "configuration": [{"name": "services/api", "digest": {"sha256": "c" * 64}}],
        "passedTests": ["a", "b"],
        "failedTests": [],
        "finishedOn": "2026-11-23T11:00:00Z",
    }
    assert junit.make_predicate(junit.JUnitResults(("a",), ("b",)), [], ended)["result"] == "FAILED"


def test_several_files_are_one_that_has_all_their_tests() -> None:
    whole = junit.merge([PYTEST, NODE, '<testsuite><testcase name="a"/></testsuite>'])
    found = junit.parse(whole)
    assert found.passed == ("tests.test_api.test_it_answers", "test.the page shows", "deep", "a")
    assert len(found.failed) == 2
    assert junit.merge([PYTEST]) == PYTEST
    with pytest.raises(ValueError, match="its root is <html>"):
        junit.merge([PYTEST, "<html/>"])
