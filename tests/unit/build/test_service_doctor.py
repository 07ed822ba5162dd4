"""The doctor names what keeps a service from the gate, and never fails because of it."""

from __future__ import annotations

from pathlib import Path

from tests.unit.adopt.made_up import DIGEST, make_workspace, write

from slipway._internal.build.service_doctor import service_facts
from slipway._internal.model.workspace import load_workspace


def test_each_lack_is_named_with_the_lines_to_add(tmp_path: Path) -> None:
    root = make_workspace(tmp_path).root
    lifted = '[security]\nread-only = false\ncapabilities = ["CHOWN"]\nuser = "root"\n'
    write(root / "services" / "a", Dockerfile="FROM python AS run\n", service_dot_toml='kind = "x"\n')
    write(root / "services" / "b", service_dot_toml=f'kind = "x"\nimage = "x@{DIGEST}"\n{lifted}')
    write(
        root / "services" / "c",
        Dockerfile="ARG PYTHON_RUN\nFROM ${PYTHON_RUN} AS test\nFROM ${PYTHON_RUN} AS run\n",
        service_dot_toml='kind = "x"\n',
    )
    write(root / "services" / "d", Dockerfile="nothing\n", service_dot_toml='kind = "x"\n')
    workspace = load_workspace(root)
    facts = list(service_facts(workspace))
    assert all((fact.ok and fact.remedy) or fact.name == "service d" for fact in facts)
    found = {name: [fact.found for fact in facts if fact.name == f"service {name}"] for name in "abcd"}
    assert [
        part in text for part, text in zip(("no stage `test`", "names no USER", "not pinned"), found["a"], strict=True)
    ] == [True] * 3
    assert found["b"] == ["[security] lifts restrictions: read-only = false; capabilities = CHOWN; user = root"]
    assert found["c"] == [] and len(found["d"]) == 1
