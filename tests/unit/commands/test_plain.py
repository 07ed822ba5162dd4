"""BuildKit's plain lines, as the docker-build provider passes them on, become the same events as its JSON."""

from __future__ import annotations

from slipway.commands.plain import Plain
from slipway.commands.progress import Event, Step

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
    definition = Step("api", "", 0, 0, "load build definition from Dockerfile", internal=True)
    copied = Step("api", "build", 4, 5, "COPY --chmod=u=rwX,go=rX requirements.txt ./", internal=False)
    made = Step("api", "linux/arm64 run", 5, 5, "RUN make", internal=False)
    failed = Step("api", "run", 6, 6, "RUN false", internal=False)
    assert Plain("api").feed(LINES) == [
        Event("started", definition),
        Event("done", definition),
        Event("started", copied),
        Event("cached", copied),
        Event("started", made),
        Event("done", made, seconds=1.2),
        Event("started", failed),
        Event("failed", failed, 'process "/bin/sh -c false" did not complete successfully: exit code: 1'),
    ]


def test_lines_may_come_one_by_one_and_some_never() -> None:
    plain = Plain("api")
    [first] = plain.feed("#5 [run 1/1] RUN x")
    assert (first.kind, plain.feed("#5 0.1 output"), plain.feed("nothing of a build")) == ("started", [], [])
    [last] = plain.feed("#5 DONE 0.4s\n")
    assert (last.kind, last.seconds, last.step) == ("done", 0.4, first.step)
