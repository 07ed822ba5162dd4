"""What `invoke doctor` says of `# syntax=` lines."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.build.frontend_doctor import frontend_facts
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings


def workspace_with(root: Path, dockerfiles: dict[str, str]) -> Workspace:
    """Return a workspace with a service for each Dockerfile; an empty one is missing."""
    services = []
    for name, text in dockerfiles.items():
        folder = root / "services" / name
        folder.mkdir(parents=True)
        if text:
            (folder / "Dockerfile").write_text(text)
        services.append(Service(name, folder, ServiceSettings(kind="own")))
    return Workspace(root, WorkspaceSettings("demo", "127.0.0.1:5000"), tuple(services))


def test_nothing_is_said_where_no_line_names_one(tmp_path: Path) -> None:
    assert list(frontend_facts(workspace_with(tmp_path, {"api": "FROM scratch\n"}))) == []


def test_each_line_is_told_with_who_reads_the_dockerfile(tmp_path: Path) -> None:
    pinned = f"docker/dockerfile:1-labs@sha256:{'0' * 64}"
    facts = list(
        frontend_facts(
            workspace_with(
                tmp_path,
                {
                    "api": "# syntax=docker/dockerfile:1\nFROM scratch\n",
                    "gone": "",
                    "labs": "# syntax=docker/dockerfile:1-labs\nFROM scratch\n",
                    "own": f"# syntax={pinned}\nFROM scratch\n",
                    "web": "# syntax=docker/dockerfile:1.4\nFROM scratch\n",
                },
            )
        )
    )
    assert {fact.found.partition(":")[0]: fact.ok for fact in facts if "gone" not in fact.found} == {
        "labs": False,
        "own": True,
        "api, web": True,
    }
    [missing] = [fact for fact in facts if "gone" in fact.found]
    assert not missing.ok
    assert "1.20" in facts[-1].found
    assert "syntax=docker/dockerfile:1" in next(fact.remedy for fact in facts if "labs" in fact.found)
