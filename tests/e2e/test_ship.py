"""The gate from end to end: what ships is proven, what is not never ships, and only what is proven is deployed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import NAME, REGISTRY, First, processes
from tests.e2e.test_secrets import files, plain
from tests.e2e.workspace import Ran, Workspace, ended, kill, processes_gone, read_until, wait_until
from tests.gate import database as trivydb
from tests.gate.registries import image, serve

from slipway._internal.commands import cosign, junit
from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import current_environment
from slipway._internal.gate import attestations as attachments
from slipway._internal.gate import evidence, prebuilt_images
from slipway._internal.gate.checks import FILE_BY_KIND
from slipway._internal.gate.evidence import AttestationInputs
from slipway._internal.gate.signing_keys import Signer
from slipway._internal.model import bases_lock
from slipway._internal.model.workspace import load_workspace
from slipway._internal.run import engine
from slipway._internal.run import registry as door
from slipway._internal.run.registry import Registry, fallback_tag, oci_digest, parse_reference
from slipway._internal.toolchain import registry_daemon

pytestmark = [pytest.mark.engine, pytest.mark.pulumi]

SERVICES = ("api", "web", "worker")
TESTED = {
    "api": "test_info_names_the_version",
    "web": "the page shows the API's items and version",
    "worker": "test_it_adds_up_what_is_in_stock",
}
BUILT_FROM = {
    "api": ("python-build", "python-run"),
    "web": ("node-build", "node-run"),
    "worker": ("python-build", "python-run"),
}
PROGRAM = "infra/__main__.py"
STAGING, PROD = "deploy/staging.lock.json", "deploy/prod.lock.json"
CVE = "CVE-2026-4711"
HOLE = trivydb.Advisory(CVE, "h11", fixed="99.0.0", origin=trivydb.PIP, title="requests can be smuggled")
SECONDS_TO_LOOK = 0.02

Lock = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Shipped:
    """The shared workspace after its first ship, what that said, and the tags that it gave beside the content's."""

    workspace: Workspace
    ran: Ran
    version: str
    commit: str


@pytest.fixture(scope="module", autouse=True)
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A vulnerability database of this hour, which knows nothing against what is in the images."""
    cache = trivydb.make(tmp_path_factory.mktemp("trivy") / "clean", [trivydb.Advisory("CVE-2026-1", "nothing-here")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVY_CACHE_DIR", str(cache))
        yield cache


@pytest.fixture(scope="module")
def shipped(first: First, database: Path) -> Iterator[Shipped]:
    """The workspace that shipped everything to staging, from nothing; what that wrote is committed."""
    workspace = first.workspace
    workspace.restore()
    commit = workspace.git("rev-parse", "HEAD").strip()
    for service in (*SERVICES, "gateway"):
        forget(service)
    version = f"1.0.{time.time_ns()}"
    try:
        ran = workspace.invoke("ship", "--stack", "staging", "--version", version)
        assert ran.code == 0, ran.output
        keep(workspace, "What `invoke ship` wrote")
        yield Shipped(workspace, ran, version, commit)
    finally:
        workspace.restore()
        for stack in ("prod", "staging"):
            if workspace.containers(stack):
                assert workspace.invoke("down", "--stack", stack, "--yes").code == 0
        workspace.git("reset", "--quiet", "--hard", commit)
        shutil.rmtree(workspace.root / ".slipway" / "signing", ignore_errors=True)


@pytest.fixture(scope="module")
def promoted(shipped: Shipped) -> Workspace:
    """The workspace whose prod stack is locked to what staging is; that is committed."""
    workspace = shipped.workspace
    workspace.restore()
    ran = workspace.invoke("promote", "--from", "staging", "--to", "prod", "--yes")
    assert ran.code == 0, ran.output
    assert services_of(workspace, PROD) == services_of(workspace, STAGING)
    keep(workspace, "What `invoke promote` wrote")
    return workspace


@pytest.fixture
def prod(promoted: Workspace, workspace: Workspace) -> Workspace:
    """The workspace whose protected stack runs what its committed lock says."""
    if running(workspace) != refs(services_of(workspace, PROD)):
        ran = workspace.invoke("deploy", "--stack", "prod", "--yes")
        assert ran.code == 0, ran.output
        assert running(workspace) == refs(services_of(workspace, PROD))
    return workspace


@pytest.fixture
def staged(shipped: Shipped, workspace: Workspace) -> Workspace:
    """The workspace as it was after its first ship."""
    return workspace


def keep(workspace: Workspace, message: str) -> None:
    workspace.git("add", ".")
    workspace.git("commit", "--quiet", "--message", message)


def forget(service: str) -> None:
    """Take everything out of a service's release repository."""
    held = Registry(REGISTRY)
    for digest in registry_daemon.list_revisions(REGISTRY, release(service)):
        held.delete_manifest(release(service), digest)


def release(service: str) -> str:
    return f"{NAME}/release/{service}"


def ship(workspace: Workspace, *words: str, stack: str = "staging", **environment: str) -> Ran:
    return workspace.invoke("ship", "--stack", stack, *words, **environment)


def change(workspace: Workspace, service: str = "worker") -> str:
    """Give a service a line that no earlier content has, and return its text."""
    text = f"novelty {time.time_ns()}"
    with (workspace.root / "services" / service / "app" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write(f'NOVELTY = "{text}"\n')
    return text


def services_of(workspace: Workspace, lock: str) -> Lock:
    return dict(json.loads((workspace.root / lock).read_text(encoding="utf-8"))["services"])


def beside_of(workspace: Workspace, lock: str) -> Lock:
    return dict(json.loads((workspace.root / lock).read_text(encoding="utf-8"))["beside"])


def refs(services: Lock) -> dict[str, str]:
    return {name: entry["ref"] for name, entry in services.items()}


def running(workspace: Workspace, stack: str = "prod") -> dict[str, str]:
    """Return each service's image as it runs."""
    return {name: each.image for name, each in workspace.containers(stack).items() if name in SERVICES}


def released() -> dict[str, tuple[frozenset[str], frozenset[tuple[str, str | None]]]]:
    """Return all that the release repositories hold: every manifest, whether it has a tag or not, and every tag."""
    held = Registry(REGISTRY)
    return {
        service: (
            frozenset(registry_daemon.list_revisions(REGISTRY, release(service))),
            frozenset((tag, held.resolve_digest(release(service), tag)) for tag in held.list_tags(release(service))),
        )
        for service in SERVICES
    }


def tags(service: str, digest: str) -> set[str]:
    """Return the tags of one image in a release repository."""
    held = Registry(REGISTRY)
    return {tag for tag in held.list_tags(release(service)) if held.resolve_digest(release(service), tag) == digest}


def proven(workspace: Workspace, service: str) -> Path:
    """Return the folder with the gate's results of a service's newest content."""
    folders = (workspace.root / ".slipway" / "gate" / service).iterdir()
    return max(folders, key=lambda folder: folder.stat().st_mtime_ns)


def written(*folders: Path) -> dict[str, tuple[int, int]]:
    """Return every file below folders with its size and when it was written."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def kinds(workspace: Workspace, ref: str) -> list[str]:
    """Return the kinds of what is attached to an image."""
    return sorted(each.kind for each in attachments.list_bundles(Registry(parse_reference(ref).host), ref))


# Shipping


def test_a_first_ship_proves_pushes_signs_names_and_locks_every_service(staged: Workspace, shipped: Shipped) -> None:
    locked = services_of(staged, STAGING)
    assert set(locked) == set(SERVICES)
    held = Registry(REGISTRY)
    for service, entry in locked.items():
        repository, _, digest = entry["ref"].partition("@")
        assert repository == f"{REGISTRY}/{release(service)}"
        assert entry["commit"] == shipped.commit
        assert set(entry["evidence"]) == set(cosign.EVIDENCE_KINDS)
        assert kinds(staged, entry["ref"]) == sorted(cosign.EVIDENCE_KINDS)
        assert oci_digest(staged.root / ".slipway" / "oci" / service / entry["content"]) == digest
        assert held.resolve_digest(f"{NAME}/{service}", f"h-{entry['content']}") == digest, (
            "an inline build gives the same"
        )
        assert tags(service, digest) == {f"h-{entry['content']}", shipped.commit, shipped.version}
    verified = {each["service"]: each for each in staged.invoke("verify", "--stack", "staging", "--json").json()}
    assert {name: each["evidence"] for name, each in verified.items()} == {
        name: each["evidence"] for name, each in (locked | beside_of(staged, STAGING)).items()
    }
    assert "policy/ trusts nobody yet: made the first key pair" in shipped.ran.output
    [key] = (staged.root / "policy" / "keys").glob("*.pub")
    assert {each["signer"] for each in verified.values()} == {f"policy/keys/{key.name}"}


def test_the_gateways_image_has_passed_the_gate_by_the_digest_of_its_base(staged: Workspace, shipped: Shipped) -> None:
    [(name, entry)] = beside_of(staged, STAGING).items()
    base = bases_lock.load(staged.root).bases["envoy"]
    assert name == "gateway"
    assert entry["ref"] == f"{REGISTRY}/{release('gateway')}@{base.partition('@')[2]}"
    assert entry["content"] == base.rpartition(":")[2] and entry["commit"] == shipped.commit
    assert set(entry["evidence"]) == set(prebuilt_images.PREBUILT_EVIDENCE_KINDS) == set(kinds(staged, entry["ref"]))
    assert json.loads((proven(staged, "gateway") / "trivy.json").read_text(encoding="utf-8"))["Results"]


def test_each_steps_result_is_kept_and_says_what_was_done(staged: Workspace, shipped: Shipped) -> None:
    based = bases_lock.load(staged.root).bases
    for service, entry in services_of(staged, STAGING).items():
        folder = staged.root / ".slipway" / "gate" / service / entry["content"]
        tests = junit.parse((folder / "junit.xml").read_text(encoding="utf-8"))
        assert not tests.failed
        assert any(TESTED[service] in name for name in tests.passed), tests.passed
        said = json.loads((folder / "tests.json").read_text(encoding="utf-8"))
        assert said["result"] == "PASSED" and said["passedTests"] == list(tests.passed)
        told = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        materials = {each["digest"]["sha256"] for each in told["materials"]}
        assert {based[name].partition("@sha256:")[2] for name in BUILT_FROM[service]} <= materials
        assert json.loads((folder / "trivy.sarif").read_text(encoding="utf-8"))["runs"]
        assert json.loads((folder / "trivy.json").read_text(encoding="utf-8"))["Results"]
        assert service in (folder / "trivy.txt").read_text(encoding="utf-8")
        assert json.loads((folder / "sbom.cdx.json").read_text(encoding="utf-8"))["bomFormat"] == "CycloneDX"
        assert json.loads((folder / "sbom.spdx.json").read_text(encoding="utf-8"))["spdxVersion"].startswith("SPDX-")
        assert all((folder / file).is_file() for file in FILE_BY_KIND.values())
    components = json.loads((proven(staged, "worker") / "sbom.cdx.json").read_text(encoding="utf-8"))["components"]
    assert {"h11", "httpx2"} <= {each["name"] for each in components}


def test_shipping_again_does_nothing_and_says_so(staged: Workspace) -> None:
    scratch = staged.root / ".slipway"
    places = [scratch / "logs", scratch / "oci", scratch / "gate"]
    files_before, lock, held = written(*places), (staged.root / STAGING).read_bytes(), released()
    ran = ship(staged)
    assert ran.code == 0, ran.output
    assert ran.output.count("has passed the gate before") == len(SERVICES) + 1, "the gateway, too"
    assert ran.output.count("locked already") == len(SERVICES) + 1
    assert written(*places) == files_before
    assert (staged.root / STAGING).read_bytes() == lock
    assert released() == held
    assert staged.git("status", "--porcelain") == ""
    lines = ship(staged, "--dry", "--json").json()
    assert [each["note"] for each in lines] == ["has passed the gate before"] * (len(SERVICES) + 1)


def test_a_lock_that_was_lost_is_written_again_from_what_the_registry_proves(staged: Workspace) -> None:
    locked = (staged.root / STAGING).read_bytes()
    (staged.root / STAGING).unlink()
    files_before, held = written(staged.root / ".slipway" / "oci"), released()
    ran = ship(staged)
    assert ran.code == 0, ran.output
    assert (staged.root / STAGING).read_bytes() == locked
    assert (written(staged.root / ".slipway" / "oci"), released()) == (files_before, held)


def test_a_version_is_never_moved_to_another_content(staged: Workspace, shipped: Shipped) -> None:
    change(staged)
    lock, held = (staged.root / STAGING).read_bytes(), released()
    dry = ship(staged, "--dry")
    assert dry.code == 0 and "would go through the gate" in dry.output, dry.output
    ran = ship(staged, "--version", shipped.version, "--services", "worker")
    assert ran.code == 3, ran.output
    assert shipped.version in ran.output and "--version" in ran.output
    assert released() == held
    assert (staged.root / STAGING).read_bytes() == lock


def test_a_new_version_names_what_has_passed_before(staged: Workspace) -> None:
    version = f"2.0.{time.time_ns()}"
    assert ship(staged, "--version", version).code == 0
    for service, entry in services_of(staged, STAGING).items():
        assert version in tags(service, entry["ref"].partition("@")[2])
    for nonsense in ("h-1", "a tag", "sha256-1"):
        ran = ship(staged, "--version", nonsense)
        assert ran.code == 2 and "version" in ran.output, ran.output


# All or nothing


def test_one_service_that_fails_its_tests_keeps_all_of_them_back(staged: Workspace) -> None:
    change(staged, "api")
    change(staged)
    staged.edit("services/worker/tests/test_worker.py", "== 42", "== 43")
    lock, held = (staged.root / STAGING).read_bytes(), released()
    ran = ship(staged)
    assert ran.code == 3, ran.output
    assert "worker did not pass its tests" in ran.output and "remedy" in ran.output
    assert "test_it_adds_up_what_is_in_stock" in ran.output
    tests = junit.parse((proven(staged, "worker") / "junit.xml").read_text(encoding="utf-8"))
    assert tests.failed and not tests.passed
    assert "assert 42 == 43" in (proven(staged, "worker") / "junit.xml").read_text(encoding="utf-8")
    assert not (proven(staged, "worker") / "tests.json").exists()
    assert released() == held
    assert (staged.root / STAGING).read_bytes() == lock


def test_tests_that_fail_behind_a_stage_that_ends_well_are_found(staged: Workspace) -> None:
    staged.edit("services/worker/tests/test_worker.py", "== 42", "== 43")
    staged.edit(
        "services/worker/Dockerfile",
        'RUN [".venv/bin/python", "-m", "pytest", "-q", "--junitxml=/tmp/junit.xml"]',
        "RUN .venv/bin/python -m pytest -q --junitxml=/tmp/junit.xml || true",
    )
    ran = ship(staged, "--services", "worker")
    assert ran.code == 3, ran.output
    assert "names 1 failed tests" in ran.output and "test_it_adds_up_what_is_in_stock" in ran.output


def test_a_stage_that_leaves_no_report_is_one_test(staged: Workspace) -> None:
    staged.edit("services/worker/Dockerfile", '"pytest", "-q", "--junitxml=/tmp/junit.xml"]', '"-c", "print(1)"]')
    staged.edit("services/worker/Dockerfile", '"-m", "-c"', '"-c"')
    ran = staged.invoke("test", "worker")
    assert ran.code == 0, ran.output
    text = (proven(staged, "worker") / "junit.xml").read_text(encoding="utf-8")
    assert junit.parse(text).passed == ("worker.test stage",)


def test_a_build_that_fails_ships_nothing(staged: Workspace) -> None:
    staged.edit("services/worker/Dockerfile", "COPY --chmod=u=rwX,go=rX app app\nUSER", "COPY gone gone\nUSER")
    lock, held = (staged.root / STAGING).read_bytes(), released()
    ran = ship(staged, "--services", "worker")
    assert ran.code == 1, ran.output
    assert "worker could not be built" in ran.output and "gone" in ran.output
    assert (released(), (staged.root / STAGING).read_bytes()) == (held, lock)


def test_a_service_without_a_test_stage_is_refused(staged: Workspace) -> None:
    staged.edit("services/worker/Dockerfile", "FROM build AS test\n", "FROM build AS checks\n")
    ran = ship(staged, "--services", "worker")
    assert ran.code == 3, ran.output
    assert "no stage `test`" in ran.output and "services/worker/Dockerfile" in ran.output


# The scan


def excepted(workspace: Workspace, until: str) -> None:
    with (workspace.root / "workspace.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[[scan.exceptions]]\nid = "{CVE}"\nuntil = {until}\nreason = "no request gets there"\n')


def test_what_the_policy_refuses_ships_with_an_exception_and_only_as_long_as_that_lasts(
    committing: Workspace, no_pulumi: Path, tmp_path: Path
) -> None:
    prod = committing
    knowing = {"TRIVY_CACHE_DIR": str(trivydb.make(tmp_path / "knowing", [HOLE]))}
    change(prod)
    keep(prod, "A novelty")
    lock, held = (prod.root / PROD).read_bytes(), released()
    refused = ship(prod, "--services", "worker", stack="prod", **knowing)
    assert refused.code == 3, refused.output
    assert CVE in refused.output and "h11" in refused.output and "[[scan.exceptions]]" in refused.output
    assert CVE in (proven(prod, "worker") / "trivy.txt").read_text(encoding="utf-8")
    assert (released(), (prod.root / PROD).read_bytes()) == (held, lock)

    today = datetime.now(UTC).date()
    excepted(prod, f"{today + timedelta(days=7)}")
    keep(prod, "An exception")
    passed = ship(prod, "--services", "worker", stack="prod", **knowing)
    assert passed.code == 0, passed.output
    assert prod.invoke("verify", "--stack", "prod").code == 0

    before = prod.ids("prod")
    prod.edit("workspace.toml", f"until = {today + timedelta(days=7)}", f"until = {today - timedelta(days=1)}")
    for words in (("verify", "--stack", "prod"), ("deploy", "--stack", "prod", "--yes")):
        expired = prod.invoke(*words)
        assert expired.code == 3, expired.output
        assert CVE in expired.output and "ended" in expired.output and "no request gets there" in expired.output
    assert prod.ids("prod") == before
    assert not no_pulumi.exists()


def test_without_a_vulnerability_database_nothing_ships(staged: Workspace, tmp_path: Path) -> None:
    change(staged)
    staged.edit("workspace.toml", "[scan]\n", '[scan]\ndatabase = "127.0.0.1:1/trivy-db:2"\n')
    lock, held = (staged.root / STAGING).read_bytes(), released()
    ran = ship(staged, "--services", "worker", TRIVY_CACHE_DIR=str(tmp_path / "empty"))
    assert ran.code == 3, ran.output
    assert "database is missing" in ran.output and "127.0.0.1:1/trivy-db:2" in ran.output
    assert (released(), (staged.root / STAGING).read_bytes()) == (held, lock)


# Interruptions


def says(service: str, state: str) -> Callable[[str], bool]:
    """Whether a line of the progress says that a service is in a state."""
    return lambda line: line.split() == [service, *state.split()]


def test_ctrl_c_in_the_middle_of_the_scan_leaves_nothing_and_the_next_run_goes_on(staged: Workspace) -> None:
    change(staged)
    lock, held = (staged.root / STAGING).read_bytes(), released()
    child = staged.start("ship", "--stack", "staging", "--services", "worker")
    said = read_until(child, says("worker", "scanning"))
    os.killpg(child.pid, signal.SIGINT)
    ran = ended(child, said)
    assert ran.code == 130, ran.output
    assert "run it again" in ran.output
    wait_until(lambda: not processes(staged), "every process that worked in the workspace has ended")
    assert (released(), (staged.root / STAGING).read_bytes()) == (held, lock)

    built = written(staged.root / ".slipway" / "oci" / "worker")
    again = ship(staged, "--services", "worker")
    assert again.code == 0, again.output
    assert written(staged.root / ".slipway" / "oci" / "worker") == built, "what was built is not built again"


def test_killed_at_each_step_nothing_is_locked_or_named_and_the_next_run_completes_it(staged: Workspace) -> None:
    change(staged)
    lock, named = (staged.root / STAGING).read_bytes(), {service: tags for service, (_, tags) in released().items()}
    for state in ("building", "pushing", "attesting", "signing"):
        child = staged.start("ship", "--stack", "staging", "--services", "worker")
        read_until(child, says("worker", state))
        processes_gone(kill(child))
        assert (staged.root / STAGING).read_bytes() == lock
        now = {tag for service, (_, tags) in released().items() for tag in tags - named[service]}
        assert not [tag for tag, _ in now if not tag.startswith("sha256-")], "the lists of evidence alone are new"
    ran = ship(staged, "--services", "worker")
    assert ran.code == 0, ran.output
    entry = services_of(staged, STAGING)["worker"]
    assert kinds(staged, entry["ref"]) == sorted(cosign.EVIDENCE_KINDS), "each was attached once"
    assert tags("worker", entry["ref"].partition("@")[2]) == {f"h-{entry['content']}"}, "the tree was not clean"
    left = [*(staged.root / ".slipway" / "oci").glob(".*"), *(staged.root / ".slipway" / "tmp").glob("*")]
    assert left == [], "what the killed ones had in hand is cleared away"
    assert staged.invoke("verify", "--stack", "staging").code == 0


# Deploying what is protected


@pytest.fixture
def no_pulumi(prod: Workspace, tmp_path: Path) -> Iterator[Path]:
    """A Pulumi that only writes down how it was called: the file that it would write to."""
    program, calls = prod.root / ".slipway" / "bin" / "pulumi", tmp_path / "pulumi-calls"
    real = program.readlink()
    program.unlink()
    program.write_text(f'#!/bin/sh\necho "$*" >> "{calls}"\nexit 97\n', encoding="utf-8")
    program.chmod(0o755)
    yield calls
    program.unlink()
    program.symlink_to(real)


def test_a_protected_stack_that_is_not_locked_is_not_deployed(staged: Workspace) -> None:
    (staged.root / PROD).unlink(missing_ok=True)
    ran = staged.invoke("deploy", "--stack", "prod", "--yes")
    assert ran.code == 4, ran.output
    assert "prod.lock.json" in ran.output and "invoke ship --stack prod" in ran.output


def test_a_protected_stack_takes_no_build_and_no_unreleased_image_from_a_program_that_was_edited(
    prod: Workspace,
) -> None:
    prod.edit(PROGRAM, "import images_of", "import inline")
    names = "[service.name for service in workspace.services]"
    prod.edit(PROGRAM, "images = images_of(inputs, image_overrides)", f"images = inline(inputs, {names})")
    prod.edit("services/api/app/main.py", '"lantern"', f'"lantern {time.time_ns()}"')
    ran = prod.invoke("preview", "--stack", "prod")
    assert ran.code == 3, ran.output
    assert "released-only: api would be built on the way into the protected stack prod" in ran.output
    assert "released-only: web runs" in ran.output and "which has not passed the gate" in ran.output
    assert "invoke ship --stack prod" in ran.output


def test_what_was_promoted_runs_on_the_protected_stack(prod: Workspace) -> None:
    assert running(prod) == refs(services_of(prod, STAGING))
    again = prod.invoke("deploy", "--stack", "prod", "--yes", "--json").json()
    assert not again["changed"] and again["healthy"]


@dataclass
class Attack:
    """A workspace and the lock that is changed in it; what is changed elsewhere is put back afterwards."""

    workspace: Workspace
    lock: Lock
    beside: Lock
    folder: Path
    undo: list[Callable[[], None]] = field(default_factory=list)

    @property
    def worker(self) -> dict[str, Any]:
        return self.lock["worker"]

    def stranger(self) -> str:
        """Push an image that nobody has signed into the worker's release repository, and return its digest."""
        layout = image(self.folder / "stranger", f"stranger {time.time_ns()}")
        crane = current_environment(load_workspace(self.workspace.root)).bin / "crane"
        return door.push_by_digest(crane, layout, f"{REGISTRY}/{release('worker')}")

    def name(self, digest: str, content: str) -> None:
        """Give an image in the worker's release repository the tag of a content, whatever that was."""
        held = Registry(REGISTRY)
        held.put_manifest(release("worker"), held.get_manifest(release("worker"), digest), f"h-{content}")

    def take(self, digest: str, content: str) -> None:
        """Lock the worker to an image under a content of its own, named as the gate would."""
        self.name(digest, content)
        self.worker.update(ref=f"{REGISTRY}/{release('worker')}@{digest}", content=content)


def another_services_digest(attack: Attack) -> None:
    attack.worker["ref"] = f"{REGISTRY}/{release('worker')}@{attack.lock['api']['ref'].partition('@')[2]}"


def another_services_repository(attack: Attack) -> None:
    attack.worker["ref"] = attack.lock["api"]["ref"]


def another_services_entry(attack: Attack) -> None:
    """Put the API's whole line in the worker's place, and its image with all evidence where the worker's would be."""
    ref, content = attack.lock["api"]["ref"], attack.lock["api"]["content"]
    crane = current_environment(load_workspace(attack.workspace.root)).bin / "crane"
    door.copy_image(crane, ref, f"{REGISTRY}/{release('worker')}", scratch=attack.folder / "copy")
    attack.take(ref.partition("@")[2], content)
    attack.worker["evidence"] = dict(attack.lock["api"]["evidence"])


def another_content(attack: Attack) -> None:
    attack.worker["content"] = "0" * 64


def another_commit(attack: Attack) -> None:
    attack.worker["commit"] = attack.workspace.git("rev-parse", "HEAD").strip()


def nobodys_commit(attack: Attack) -> None:
    attack.worker["commit"] = "1" * 40


def no_commit(attack: Attack) -> None:
    attack.worker["commit"] = None


def the_base_as_gateway(attack: Attack) -> None:
    attack.beside["gateway"]["ref"] = bases_lock.load(attack.workspace.root).bases["envoy"]


def an_unproven_gateway(attack: Attack) -> None:
    del attack.beside["gateway"]["evidence"]


def another_image_as_gateway(attack: Attack) -> None:
    attack.beside["gateway"] |= {key: attack.worker[key] for key in ("content", "evidence")}
    digest = attack.worker["ref"].partition("@")[2]
    attack.beside["gateway"]["ref"] = f"{REGISTRY}/{release('gateway')}@{digest}"


def no_gateway(attack: Attack) -> None:
    del attack.beside["gateway"]


def other_evidence(attack: Attack) -> None:
    attack.worker["evidence"]["scan"] = attack.lock["api"]["evidence"]["scan"]


def less_evidence(attack: Attack) -> None:
    del attack.worker["evidence"]["tests"]


def no_evidence(attack: Attack) -> None:
    del attack.worker["evidence"]


def an_unsigned_image(attack: Attack) -> None:
    attack.take(attack.stranger(), f"{time.time_ns():064x}")


def a_moved_tag(attack: Attack) -> None:
    digest, content = attack.worker["ref"].partition("@")[2], attack.worker["content"]
    attack.undo.append(lambda: attack.name(digest, content))
    attack.name(attack.stranger(), content)


def no_policy(attack: Attack) -> None:
    for key in (attack.workspace.root / "policy" / "keys").glob("*.pub"):
        key.unlink()


def a_foreign_signature(attack: Attack) -> None:
    """Sign and attest an image as the gate does, with a key that nobody trusts."""
    ground = current_environment(load_workspace(attack.workspace.root))
    prefix = attack.folder / "foreign"
    environment = {key: value for key, value in os.environ.items() if key != "COSIGN_PASSWORD"}
    made = cosign.generate_key_pair(ground.bin / "cosign", prefix)
    subprocess.run(made, input=b"foreign", env=environment, check=True, capture_output=True, timeout=60)
    content, genuine = f"{time.time_ns():064x}", attack.worker["content"]
    folder = attack.workspace.root / ".slipway" / "gate" / "worker" / genuine
    attack.take(attack.stranger(), content)
    said = AttestationInputs(
        "worker", content, attack.worker["commit"], {kind: folder / file for kind, file in FILE_BY_KIND.items()}
    )
    evidence.attach_evidence(ground, attack.worker["ref"], said, Signer(f"{prefix}.key", "foreign"), NullReporter())
    bundles = attachments.list_bundles(Registry(REGISTRY), attack.worker["ref"])
    attack.worker["evidence"] = {each.kind: each.manifest_digest for each in bundles}
    assert set(attack.worker["evidence"]) == set(cosign.EVIDENCE_KINDS)


ATTACKS: dict[Callable[[Attack], None], str] = {
    another_services_digest: "a tag was moved by hand, or that was changed",
    another_services_repository: "outside this stack's repositories",
    another_services_entry: "it says service `api`, not `worker`",
    another_content: "is not there",
    another_commit: "it says commit",
    nobodys_commit: "commits that this repository does not have",
    no_commit: "names no commit",
    the_base_as_gateway: "outside this stack's repositories",
    an_unproven_gateway: "gateway never went through the gate",
    another_image_as_gateway: "a tag was moved by hand, or that was changed",
    no_gateway: "it has no verified image for the gateway",
    other_evidence: "is not attached to the image",
    less_evidence: "tests: the lock names none",
    no_evidence: "worker never went through the gate",
    an_unsigned_image: "is not attached to the image",
    a_moved_tag: "a tag was moved by hand",
    no_policy: "policy/ trusts nobody",
    a_foreign_signature: "a key that policy/keys does not hold",
}


@pytest.mark.parametrize("way", ATTACKS, ids=lambda way: way.__name__.replace("_", " "))
def test_what_was_tampered_with_is_not_deployed_and_nothing_is_touched(
    prod: Workspace, no_pulumi: Path, tmp_path: Path, way: Callable[[Attack], None]
) -> None:
    before, whole = prod.ids("prod"), json.loads((prod.root / PROD).read_text(encoding="utf-8"))
    attack = Attack(prod, whole["services"], whole["beside"], tmp_path)
    try:
        way(attack)
        (prod.root / PROD).write_text(json.dumps(whole), encoding="utf-8")
        ran = prod.invoke("deploy", "--stack", "prod", "--yes")
    finally:
        for undo in attack.undo:
            undo()
    assert ran.code == 4, ran.output
    assert ATTACKS[way] in ran.output and "remedy" in ran.output
    assert prod.ids("prod") == before
    assert not no_pulumi.exists(), no_pulumi.read_text(encoding="utf-8")


def test_what_was_not_tampered_with_gets_as_far_as_pulumi(prod: Workspace, no_pulumi: Path) -> None:
    assert prod.invoke("deploy", "--stack", "prod", "--yes").code != 0
    assert no_pulumi.exists(), "so its absence tells that nothing was started"


# Step by step, and back


@pytest.fixture
def committing(prod: Workspace) -> Iterator[Workspace]:
    """The same, in which a test may commit: afterwards the commit is the one that it was."""
    before = prod.git("rev-parse", "HEAD").strip()
    try:
        yield prod
    finally:
        prod.git("reset", "--quiet", "--hard", before)


def test_what_is_of_no_commit_is_not_shipped_to_a_protected_stack(prod: Workspace) -> None:
    change(prod)
    lock, held = (prod.root / PROD).read_bytes(), released()
    ran = ship(prod, stack="prod")
    assert ran.code == 4 and "files differ from the commit" in ran.output, ran.output
    assert (released(), (prod.root / PROD).read_bytes()) == (held, lock)


def test_each_step_on_its_own_leads_to_the_same_lock_and_a_deploy_that_can_be_rolled_back(
    committing: Workspace,
) -> None:
    prod = committing
    old, logs = running(prod), prod.root / ".slipway" / "logs"
    text = change(prod)
    keep(prod, "A novelty")
    lock, held = (prod.root / PROD).read_bytes(), released()
    for early in (("push", "worker", "--stack", "prod"), ("sign", "worker", "--stack", "prod"), ("scan", "worker")):
        ran = prod.invoke(*early)
        assert ran.code == 3, ran.output
        assert "remedy" in ran.output
    for words in (("build", "worker", "--local"), ("test", "worker"), ("scan", "worker"), ("sbom", "worker")):
        ran = prod.invoke(*words)
        assert ran.code == 0, ran.output
        assert released() == held
    assert junit.parse((proven(prod, "worker") / "junit.xml").read_text(encoding="utf-8")).passed
    unpushed = prod.invoke("sign", "worker", "--stack", "prod")
    assert unpushed.code == 4 and "invoke push --stack prod" in unpushed.output, unpushed.output
    for words in (("push", "worker", "--stack", "prod"), ("sign", "worker", "--stack", "prod")):
        ran = prod.invoke(*words)
        assert ran.code == 0, ran.output
        assert (prod.root / PROD).read_bytes() == lock
        assert {tag for tag, _ in released()["worker"][1] - held["worker"][1] if tag.startswith("h-")} == set()
    built = written(prod.root / ".slipway" / "oci" / "worker")
    ran = ship(prod, "--services", "worker", stack="prod")
    assert ran.code == 0, ran.output
    assert written(prod.root / ".slipway" / "oci" / "worker") == built
    entry = services_of(prod, PROD)["worker"]
    assert kinds(prod, entry["ref"]) == sorted(cosign.EVIDENCE_KINDS), "what `sign` attached is not attached again"

    deployed = prod.invoke("deploy", "--stack", "prod", "--yes", "--json").json()
    assert deployed["changed"] and deployed["healthy"]
    new = running(prod)
    assert new == refs(services_of(prod, PROD)) and new["worker"] != old["worker"]
    assert novelty(prod) == text
    was = written(logs)
    back = prod.invoke("rollback", "--stack", "prod", "--yes")
    assert back.code == 0, back.output
    assert running(prod) == old
    assert {log for log, at in written(logs).items() if log.endswith(".build.log") and was[log] != at} == set()
    live, *others = prod.invoke("releases", "--stack", "prod", "--json").json()
    assert live["result"] == "live" and live["digests"] == old
    assert others[0]["result"] == "good" and others[0]["digests"] == new
    assert refs(services_of(prod, PROD)) == old
    assert prod.invoke("verify", "--stack", "prod").code == 0


def novelty(workspace: Workspace) -> str:
    """Return the newest text of `change` in the worker that runs in prod."""
    show = "import app; print(app.NOVELTY)"
    code, text = engine.exec_command(workspace.ids("prod")["worker"], ["/app/.venv/bin/python", "-c", show])
    assert code == 0, text
    return text.strip()


# Secrets


@contextmanager
def watched() -> Iterator[dict[str, set[bytes]]]:
    """Collect what every process shows of itself while the body runs: its arguments and its environment."""
    found: dict[str, set[bytes]] = {"cmdline": set(), "environ": set()}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(SECONDS_TO_LOOK):
            for folder in Path("/proc").glob("[0-9]*"):
                for name, texts in found.items():
                    with suppress(OSError):
                        texts.add((folder / name).read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def test_no_secret_of_a_ship_stands_anywhere_but_in_its_own_file(staged: Workspace, tmp_path: Path) -> None:
    token = f"sentinel-of-the-build-{time.time_ns()}"
    text = change(staged)
    staged.edit("workspace.toml", "[build.secrets]\n", '[build.secrets]\ndeploy-token = { env = "DEPLOY_TOKEN" }\n')
    staged.edit(
        "services/worker/Dockerfile",
        "\n\nFROM build AS test\n",
        "RUN --mount=type=secret,id=deploy-token,required=true \\\n"
        f"    test -s /run/secrets/deploy-token && echo the token of {text} > /app/.venv/used\n\nFROM build AS test\n",
    )
    began = time.time() - 1
    with watched() as seen:
        ran = ship(staged, "--services", "worker", DEPLOY_TOKEN=token)
    assert ran.code == 0, ran.output
    signing = staged.root / ".slipway" / "signing"
    password = (signing / "password").read_text(encoding="utf-8")
    private = (signing / "cosign.key").read_text(encoding="utf-8").splitlines()[1]
    assert len(password) > 20 and len(private) > 20

    # The token is the caller's, who has it in the environment and hands it on; the password is in no environment.
    ours = [each for each in seen["environ"] if token.encode() in each]
    assert ours, "environments are seen"
    assert any(b"cosign" in each and b"attest" in each for each in seen["cmdline"]), "arguments are seen"
    store = registry_daemon.state_folder(registry_daemon.split_address(REGISTRY)[1]) / "data"
    fresh = ((name, data) for name, data in files(store) if (store / name).stat().st_mtime >= began)
    places: dict[str, list[tuple[str, bytes]]] = {
        "output": [("", ran.output.encode())],
        "arguments": [("", each) for each in seen["cmdline"]],
        "environments": [("", each) for each in seen["environ"]],
        "registry": [(name, plain(data)) for name, data in fresh],
        "workspace": [(name, plain(data)) for name, data in files(staged.root)],
    }
    assert found(places["registry"], text.encode()), "a layer is searched as it was before it was compressed"
    assert found(places["registry"], f"the token of {text}".encode()), "the step with the secret ran just now"
    assert found(places["workspace"], text.encode()), "and so is the layout here"
    assert found(places["workspace"], password.encode()) == [".slipway/signing/password"]
    assert found(places["workspace"], private.encode()) == [".slipway/signing/cosign.key"]
    for place, texts in places.items():
        if place != "environments":
            assert found(texts, token.encode()) == [], place
        if place != "workspace":
            assert found(texts, password.encode()) == [], place
            assert found(texts, private.encode()) == [], place
    assert not list((staged.root / ".slipway" / "tmp").glob("*"))
    everything = ["git", "cat-file", "--batch-all-objects", "--batch"]
    objects = subprocess.run(everything, cwd=staged.root, capture_output=True, check=True).stdout
    assert b"take_stock" in objects, "objects are searched as they are"
    assert not [each for each in (password, private, token) if each.encode() in objects]


def found(texts: list[tuple[str, bytes]], wanted: bytes) -> list[str]:
    """Return where a text stands."""
    return [name for name, data in texts if wanted in data]


# A registry of its own


def test_a_stack_with_a_registry_of_its_own_gets_image_and_evidence_and_runs_from_there(
    prod: Workspace, tmp_path: Path
) -> None:
    entries = services_of(prod, STAGING)
    with serve(tmp_path / "prod-registry") as there:
        prod.edit(
            "infra/Pulumi.prod.yaml",
            "slipway:protected: true",
            f"slipway:protected: true\n  slipway:registry: {there.host}",
        )
        elsewhere = prod.invoke("deploy", "--stack", "prod", "--yes")
        assert elsewhere.code == 4 and "outside this stack's repositories" in elsewhere.output, elsewhere.output
        ran = prod.invoke("promote", "--from", "staging", "--to", "prod", "--yes")
        assert ran.code == 0, ran.output
        locked = services_of(prod, PROD)
        assert {name: entry["evidence"] for name, entry in locked.items()} == {
            name: entry["evidence"] for name, entry in entries.items()
        }
        for service, entry in locked.items():
            assert entry["ref"] == entries[service]["ref"].replace(REGISTRY, there.host)
            assert kinds(prod, entry["ref"]) == kinds(prod, entries[service]["ref"])
        assert prod.invoke("down", "--stack", "prod", "--yes").code == 0, "else the same bytes just go on running"
        deployed = prod.invoke("deploy", "--stack", "prod", "--yes", "--json").json()
        assert deployed["healthy"]
        assert running(prod) == refs(locked)

        digest = locked["worker"]["ref"].partition("@")[2]
        held = Registry(there.host)
        held.delete_manifest(release("worker"), held.resolve_digest(release("worker"), fallback_tag(digest)) or "")
        before = prod.ids("prod")
        bare = prod.invoke("deploy", "--stack", "prod", "--yes")
        assert bare.code == 4 and "is not attached" in bare.output, bare.output
        assert prod.ids("prod") == before
