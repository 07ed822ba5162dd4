"""What `invoke doctor` says of who reads each Dockerfile."""

from __future__ import annotations

from pathlib import Path

from slipway._internal.build.frontend_doctor import frontend_facts
from slipway._internal.model import bases_lock
from slipway._internal.model.workspace import Service, ServiceSettings, Workspace, WorkspaceSettings

PIN = f"@sha256:{'0' * 64}"


def workspace_with(root: Path, dockerfiles: dict[str, str], **args: dict[str, str]) -> Workspace:
    """Return a workspace with a service for each Dockerfile, an empty one is missing; `args` are by service."""
    services = []
    for name, text in dockerfiles.items():
        folder = root / "services" / name
        folder.mkdir(parents=True)
        if text:
            (folder / "Dockerfile").write_text(text)
        services.append(Service(name, folder, ServiceSettings(kind="own", args=args.get(name, {}))))
    return Workspace(root, WorkspaceSettings("demo", "127.0.0.1:5000"), tuple(services))


def test_each_service_is_told_with_who_reads_its_dockerfile(tmp_path: Path) -> None:
    workspace = workspace_with(
        tmp_path,
        {
            "api": "# syntax=docker/dockerfile:1\nFROM scratch\n",
            "argument": "# syntax=docker/dockerfile:1.99\nFROM scratch\n",
            "gone": "",
            "labs": "# syntax=docker/dockerfile:1-labs\nFROM scratch\n",
            "later": "# syntax=docker/dockerfile:1.99-labs\nFROM scratch\n",
            "other": "# syntax=example.com/own:1\nFROM scratch\n",
            "own": f"# syntax=docker/dockerfile:1.4{PIN}\nFROM scratch\n",
            "web": "FROM scratch\n",
        },
        argument={"BUILDKIT_SYNTAX": f"example.com/own{PIN}"},
    )
    facts = list(frontend_facts(workspace))
    said = {fact.found.partition(":")[0]: fact for fact in facts if "Dockerfile is missing" not in fact.found}
    assert said["api, labs, web"].found == "api, labs, web: the builder's own, Dockerfile 1.28"
    assert said["own"].found == f"own: the image docker/dockerfile:1.4{PIN}, which the builder pulls"
    assert said["argument"].found == f"argument: the image example.com/own{PIN}, which the builder pulls"
    assert "1.99.0-labs, built from BuildKit's Go module" in said["later"].found
    assert {name for name, fact in said.items() if not fact.ok} <= {"other", "gone"}
    assert not said["other"].ok and "syntax=docker/dockerfile:1" in said["other"].remedy
    assert [fact.ok for fact in facts if "gone" in fact.found] == [False]
    ref = f"127.0.0.1:5000/demo/dockerfile_frontend{PIN}"
    (tmp_path / "bases").mkdir()
    bases_lock.save(tmp_path, bases_lock.BasesLock("official", {"dockerfile-1.99.0-labs": ref}))
    assert any(fact.found == f"later: Dockerfile 1.99.0-labs, {ref}" for fact in frontend_facts(workspace))
