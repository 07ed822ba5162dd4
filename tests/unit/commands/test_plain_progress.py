"""BuildKit's plain lines, as the docker-build provider passes them on, become the same events as its JSON."""

from __future__ import annotations

from slipway._internal.commands.buildkit_progress import BuildEvent, BuildStep
from slipway._internal.commands.plain_progress import PlainProgressParser

LINES = """#0 building with "slipway" instance using remote driver
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 3.28kB done
#1 DONE 0.0s
#10 [build 4/5] COPY --chmod=u=rwX,go=rX requirements.txt ./
#10 CACHED
#11 [linux/arm64 run 5/5] RUN make
#11 0.31 DONE 3s is what make said
#11 DONE 1.2s
#12 [run 6/6] RUN false
#12 ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1
warning: something else
"""


def test_lines_become_events() -> None:
    definition = BuildStep("api", "", 0, 0, "load build definition from Dockerfile", internal=True)
    copied = BuildStep("api", "build", 4, 5, "COPY --chmod=u=rwX,go=rX requirements.txt ./", internal=False)
    made = BuildStep("api", "linux/arm64 run", 5, 5, "RUN make", internal=False)
    failed = BuildStep("api", "run", 6, 6, "RUN false", internal=False)
    assert PlainProgressParser("api").feed(LINES) == [
        BuildEvent("started", definition),
        BuildEvent("done", definition),
        BuildEvent("started", copied),
        BuildEvent("cached", copied),
        BuildEvent("started", made),
        BuildEvent("done", made, seconds=1.2),
        BuildEvent("started", failed),
        BuildEvent("failed", failed, 'process "/bin/sh -c false" did not complete successfully: exit code: 1'),
    ]


def test_lines_may_come_one_by_one_and_some_never() -> None:
    plain = PlainProgressParser("api")
    [first] = plain.feed("#5 [run 1/1] RUN x")
    assert (first.kind, plain.feed("#5 0.1 output"), plain.feed("nothing of a build")) == ("started", [], [])
    [last] = plain.feed("#5 DONE 0.4s\n")
    assert (last.kind, last.seconds, last.step) == ("done", 0.4, first.step)
