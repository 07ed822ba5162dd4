"""Each reader of Slipway with a good example of what it reads, and how it is called on a damaged one."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from tests.unit.fuzz import examples as good
from tests.unit.fuzz.examples import SHA

from slipway._internal.build import bake_runner, build
from slipway._internal.commands import build_history, builder_cache, envoy, findings, junit, provenance, trivy
from slipway._internal.commands.buildkit_progress import ProgressParser
from slipway._internal.commands.kubectl import ClusterNamespace
from slipway._internal.content import build_state, dockerfile, dockerignore, healthcheck
from slipway._internal.context.run_context import current_environment
from slipway._internal.gate import attestations, evidence, scan, signing_keys
from slipway._internal.insight import advice, image_layers, report_data
from slipway._internal.model import bases_lock, lock, peers, run_record, schedule, stack, trust, workspace
from slipway._internal.model.gate_settings import ScanSettings
from slipway._internal.model.project import Project
from slipway._internal.prune import prune
from slipway._internal.release import releases
from slipway._internal.rollout import container_files as provider_files
from slipway._internal.run import cluster, credentials, docker_config, oci, state
from slipway._internal.run.kubernetes_objects import Deployment, Event, ObjectList, Pod
from slipway._internal.run.registries.client import Manifest
from slipway._internal.scaffold import service_creation
from slipway._internal.targets.kubernetes import pod_status
from slipway._internal.toolchain import background, builder, installed_tools

GATEWAY_CONFIG = envoy.render_config([envoy.Route("api", "/api", "api:8000")])
TODAY = date(2026, 3, 1)


@dataclass(frozen=True)
class Reader:
    """A reader: a good text, and what is called with a workspace in whose file the damaged one lies.

    `documented` is what it may raise beside SlipwayError, by its docstring: its callers catch it.
    """

    name: str
    good: bytes
    read: Callable[[Path, bytes], object]
    documented: tuple[type[Exception], ...] = ()


def make_workspace(root: Path) -> None:
    """Write a good workspace."""
    services = {"api": good.SERVICE, "web": 'kind = "node-web"\nroute = "/"\nport = 3000\n', "job": good.JOB}
    for name, text in services.items():
        _put(root / "services" / name / "service.toml", text.encode())
        _put(root / "services" / name / "Dockerfile", good.DOCKERFILE.encode())
    _put(root / "workspace.toml", good.WORKSPACE.encode())
    _put(root / "infra" / "Pulumi.yaml", good.PROJECT.encode())
    _put(root / "infra" / "Pulumi.dev.yaml", b"config:\n  slipway:images: inline\n  slipway:protected: false\n")
    _put(root / "bases" / "bases.lock.json", _json(good.BASES))


def _put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _file(relative_path: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Return a reader of a file at a place of the workspace."""

    def carried_out(root: Path, data: bytes) -> object:
        path = root / relative_path
        before = path.read_bytes() if path.is_file() else None
        _put(path, data)
        try:
            return read(root)
        finally:
            path.unlink(missing_ok=True)
            if before is not None:
                path.write_bytes(before)

    return carried_out


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def _lines(values: Iterable[object]) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


def _settings(root: Path) -> object:
    found = workspace.load_workspace(root)
    service_creation._read_settings(root)
    return [report_data.called_services(found, service) for service in found.services]


def _stack(root: Path) -> None:
    found = stack.load(root, "staging", {})
    stack.namespace_of("shop", found)
    stack.write_mode(found, "hybrid")


def _records(root: Path) -> object:
    found, kept = workspace.load_workspace(root), run_record.load_all(root)
    for each in kept:
        report_data.collect_report_data(found, each, kept, {})
    return advice.profile_stack(found, stack.load(root, "dev", {}), [], kept, 1)


def _known(root: Path) -> None:
    build_state.unchanged_images(root)
    build_state.forget_images(root)


def _dockerfile(root: Path) -> object:
    read = dockerfile.read(root / "services" / "api" / "Dockerfile")
    read.mounts_secret("x")
    read.health("run")
    return dockerfile.pulled_images(read, "run", args={}, contexts=())


def _ignore(root: Path) -> object:
    rules = dockerignore.load_dockerignore(root / "services" / "api")
    return [rules.evaluate(path, ()) for path in ("a", "app/x.py")]


def _docker_config(root: Path) -> object:
    docker_config.read_config(root / "docker")
    return [credentials.read_login(host, root / "docker") for host in ("ghcr.io", credentials.HUB)]


def _state(_root: Path, data: bytes) -> object:
    found = json.loads(data)  # by Pulumi's own API: what is not JSON never comes this far
    resources = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    list(releases.digests_in_state("dev", resources))
    return [
        (line.local_time, line.short_commit, line.images_summary) for line in releases.parse_releases("dev", resources)
    ]


def _report(root: Path) -> object:
    report = scan._read_output(root / "report.json", root / "log")
    findings.parse_findings(report)  # what every report has to pass
    joined = trivy.merge_reports([("linux/amd64", report), ("linux/arm64", report)], report.get("Results") or [])
    found = findings.evaluate_report(ScanSettings(), joined, "api", TODAY)
    return None if found.passed else findings.refusal_error(found, "api")


def _sbom(root: Path) -> object:
    return trivy.merge_sboms([scan._read_output(root / "report.json", root / "log", trivy.SbomDocument)] * 2)


def _database(root: Path) -> object:
    _put(root / "cache" / "trivy" / "db" / "trivy.db", b"x")
    return scan.load_database(current_environment(workspace.load_workspace(root)), datetime.now(UTC))


def _metadata(root: Path) -> object:
    return provenance.make_predicate(bake_runner.read_metadata(root / "metadata.json"), ["api"])


def _progress(_root: Path, data: bytes) -> object:
    reader = ProgressParser(["api"])
    return [reader.feed(line) for line in data.decode(errors="replace").splitlines()]


def _lists(_root: Path, data: bytes) -> object:
    lines = data.decode(errors="replace").splitlines()
    return builder_cache.parse_reclaimable_bytes(lines, 1), build_history.find_newest_failure(
        lines, "api", datetime(2026, 1, 1, tzinfo=UTC)
    )


def _instances(root: Path) -> object:
    return builder.read_registered_endpoint(root / "buildx"), builder._read_node_endpoints(
        root / "buildx", builder.BUILDER_NAME
    )


def _layout(root: Path) -> object:
    layout = root / "layout"
    oci.hardlink_shared_blobs([layout], root / "lent")
    scan.list_images(layout)
    oci.oci_digest(layout)
    return oci.verify_layout(layout)


def _manifest(root: Path) -> object:
    index = {"manifests": [{"mediaType": oci.MANIFEST_TYPE, "digest": SHA, "size": 2}]}
    _put(root / "manifest" / "index.json", _json(index))
    oci.hardlink_shared_blobs([root / "manifest"], root / "lent")
    return oci.verify_layout(root / "manifest")


def _bundle(_root: Path, data: bytes) -> object:
    manifest = Manifest(SHA, "application/vnd.oci.image.manifest.v1+json", b"{}")
    found = attestations.parse_bundle(manifest, data)
    return found.predicate, found.annotations(SHA)


def _objects(_root: Path, data: bytes) -> object:
    owner = stack.Stack("dev", Path("x"), "external", "kubernetes", protected=False)
    client = cluster.Cluster(Path("kubectl"), ClusterNamespace("shop-dev"), owner)
    every = client.decode(data.decode(errors="replace"), ObjectList, ["kubectl"]).items
    found = [each for each in every if isinstance(each, Pod)]
    sorted((each for each in every if isinstance(each, Event)), key=lambda event: event.last_seen)
    problems = (
        [pod_status.find_pod_problem(each) for each in found],
        pod_status.count_restarts(found),
        [pod_status.is_ready(each) for each in found],
    )
    return problems, [pod_status.find_deployment_problem(each, found) for each in every if isinstance(each, Deployment)]


def _passwd(_root: Path, data: bytes) -> object:
    class Container:
        def get_archive(self, _path: str) -> tuple[list[bytes], dict[str, object]]:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                entry = tarfile.TarInfo("passwd")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            return [buffer.getvalue()], {}

    name = data.decode(errors="replace").partition(":")[0]
    return [provider_files.resolve_owner(Container(), user) for user in ("app", "app:app", name)]


def _words(_root: Path, data: bytes) -> None:
    for each in data.decode(errors="replace").split("\n"):
        schedule.schedule_problem(each)
        peers.are_valid(each, words=(peers.ANYWHERE,))
        with suppress(ValueError):
            healthcheck.parse_duration(each)


def _reader(name: str, example: object, read: Callable[[Path], object], relative_path: str) -> Reader:
    return Reader(name, example.encode() if isinstance(example, str) else _json(example), _file(relative_path, read))


READERS = (
    _reader("workspace.toml", good.WORKSPACE, _settings, "workspace.toml"),
    _reader("service.toml", good.SERVICE, _settings, "services/api/service.toml"),
    _reader("a job's service.toml", good.JOB, _settings, "services/job/service.toml"),
    _reader("Pulumi.STACK.yaml", good.STACK, _stack, "infra/Pulumi.staging.yaml"),
    _reader("Pulumi.yaml", good.PROJECT, lambda root: state.local_state_folder(Project(root)), "infra/Pulumi.yaml"),
    _reader("bases.lock.json", good.BASES, bases_lock.load, "bases/bases.lock.json"),
    _reader("dev.lock.json", good.LOCK, lambda root: lock.load(root, "dev"), "deploy/dev.lock.json"),
    _reader("identities.toml", good.IDENTITIES, lambda root: trust.load(root).digest, "policy/identities.toml"),
    _reader("a trusted key", good.PEM, lambda root: trust.load(root).digest, "policy/keys/a.pub"),
    _reader("a record", good.RECORD, _records, ".slipway/records/20260301T120000Z-deploy-1.json"),
    _reader(
        "known.json",
        {
            "format": build_state.FORMAT,
            "whole": True,
            "files": {"workspace.toml": [1, 2, 3, 4, 5, "f"]},
            "images": {"api": {"tag": "t", "digest": SHA, "pushed": True, "layout": "/x"}},
        },
        _known,
        ".slipway/known.json",
    ),
    _reader(
        "verified.json",
        {"day": TODAY.isoformat(), "seals": {"a": "b"}},
        lambda root: evidence._load_verifications(workspace.load_workspace(root), TODAY),
        ".slipway/verified.json",
    ),
    _reader(
        "prune.json",
        {"shop/api": [SHA]},
        lambda root: prune._read_journal(workspace.load_workspace(root)),
        ".slipway/run/prune.json",
    ),
    _reader(
        "the signing password",
        "secret\n",
        lambda root: signing_keys._read_password(workspace.load_workspace(root), {}),
        ".slipway/signing/password",
    ),
    _reader(
        "what a build was of",
        {"app/main.py": "f"},
        lambda root: build.read_manifest(workspace.load_workspace(root), "api"),
        f".slipway/{build.MANIFESTS_FOLDER}/api.json",
    ),
    _reader(
        "an image's layers",
        [{"digest": SHA, "size": 5, "made": "RUN x"}],
        lambda root: image_layers._layers_of_image(
            workspace.load_workspace(root), "api", f"127.0.0.1:1/shop/api@{SHA}"
        ),
        f".slipway/records/images/{SHA.replace(':', '-')}.json",
    ),
    _reader("Docker's config.json", good.DOCKER, _docker_config, "docker/config.json"),
    _reader("a Dockerfile", good.DOCKERFILE, _dockerfile, "services/api/Dockerfile"),
    _reader(".dockerignore", "*\n!app/**\n# x\n[a-z]?\n", _ignore, "services/api/.dockerignore"),
    _reader(
        "a lock of Pulumi's",
        {"pid": 1, "username": "me", "hostname": "h", "timestamp": "2026-03-01"},
        lambda root: state.read_lock(root / "lock.json"),
        "lock.json",
    ),
    Reader("a stack's resources", _json(good.STATE), _state, (ValueError, RecursionError)),
    _reader("a report of Trivy's", good.REPORT, _report, "report.json"),
    _reader("a list of packages", good.CYCLONEDX, _sbom, "report.json"),
    Reader(
        "Trivy's database",
        _json(good.TRIVY),
        _file("cache/trivy/db/metadata.json", _database),
        (scan.DatabaseUnavailable,),
    ),
    _reader("buildx' metadata", good.METADATA, _metadata, "metadata.json"),
    Reader("BuildKit's progress", _lines(good.VERTICES), _progress),
    Reader("buildx' lists", _lines(good.LISTS), _lists),
    _reader("buildx' instances", good.INSTANCES, _instances, f"buildx/instances/{builder.BUILDER_NAME}"),
    _reader("an OCI index", good.OCI_INDEX, _layout, "layout/index.json"),
    _reader("an OCI manifest", good.OCI_MANIFEST, _manifest, f"manifest/blobs/sha256/{'a' * 64}"),
    _reader(
        "a pid file", {"pid": 4194304, "born": "x"}, lambda root: background.find_running(root / "d"), "d/pid.json"
    ),
    _reader(
        "tools' versions",
        {"/usr/bin/crane 1 2": "0.20.0"},
        lambda _root: installed_tools._load_versions(),
        f"cache/slipway/tools/{installed_tools.VERSIONS_FILE}",
    ),
    Reader(
        "a bundle of cosign's",
        _json(good.BUNDLE),
        _bundle,
        (LookupError, ValueError, TypeError, AttributeError, RecursionError),
    ),
    Reader("a cluster's objects", _json(good.OBJECTS), _objects),
    Reader(
        "a JUnit file",
        junit.render_stage_result("api", "boom").encode(),
        lambda _root, data: junit.parse(junit.merge([data.decode(errors="replace")] * 2)),
        (ValueError,),
    ),
    Reader(
        "the gateway's routes.json",
        GATEWAY_CONFIG[envoy.ROUTES].encode(),
        lambda _root, data: envoy.parse_config({**GATEWAY_CONFIG, envoy.ROUTES: data.decode(errors="replace")}),
    ),
    Reader("an image's users", good.PASSWD.encode(), _passwd),
    Reader("schedules, peers, durations", good.WORDS.encode(), _words),
)
