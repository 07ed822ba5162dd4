"""A toolchain's lines become a report: what repeats moves in place, the rest is said once."""

from __future__ import annotations

from slipway._internal.context.reporter import ToolLineReporter


class RecordingReporter:
    """Records the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def say(self, text: str) -> None:
        self.calls.append(("say", text))

    def step(self, service: str, state: str, detail: str = "") -> None:
        self.calls.append(("step", service, state, detail))

    def done(self, service: str, state: str) -> None:
        self.calls.append(("done", service, state))

    def failed(self, service: str, state: str) -> None:
        self.calls.append(("failed", service, state))


def test_a_build_moves_in_place_and_ends_in_place() -> None:
    report = RecordingReporter()
    tell = ToolLineReporter(report)
    for line in (
        "pulumi: no release",
        "pulumi: building, 3 s, a/b",
        "pulumi: building, 4 s, a, c",
        "pulumi: it is there",
    ):
        tell(line)
    assert report.calls == [
        ("say", "pulumi: no release"),
        ("step", "pulumi", "building", "3 s, a/b"),
        ("step", "pulumi", "building", "4 s, a, c"),
        ("done", "pulumi", "it is there"),
    ]


def test_a_line_without_a_tool_is_said() -> None:
    report = RecordingReporter()
    ToolLineReporter(report)("Docker engine: starting it")
    assert report.calls == [("say", "Docker engine: starting it")]
