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

from slipway.commands import cache, findings, history, junit, nginx, provenance, trivy
from slipway.commands.kubectl import Where
from slipway.commands.progress import Progress
from slipway.content import dockerfile, healthcheck, ignore, known
from slipway.flows import advice, attached, baking, build, evidence, facts, keys, layers, new, prune, releases, scan
from slipway.flows.places import pods
from slipway.flows.standing import standing
from slipway.model import bases, lock, peers, record, schedule, stack, trust, workspace
from slipway.model.gate import Scan
from slipway.provider import files as provider_files
from slipway.run import cluster, credentials, docker_config, oci, state
from slipway.run.objects import Deployment, Event, Objects, Pod
from slipway.run.registries.door import Manifest
from slipway.toolchain import background, builder, find

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


def _file(place: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Return a reader of a file at a place of the workspace."""

    def carried_out(root: Path, data: bytes) -> object:
        path = root / place
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
    found = workspace.load(root)
    new._settings(root)
    return [facts.calls(found, service) for service in found.services]


def _stack(root: Path) -> None:
    found = stack.load(root, "staging", {})
    stack.namespace_of("shop", found)
    stack.write_mode(found, "hybrid")


def _records(root: Path) -> object:
    found, kept = workspace.load(root), record.load_all(root)
    for each in kept:
        facts.facts(found, each, kept, {})
    return advice.known_of(found, stack.load(root, "dev", {}), [], kept, 1)


def _known(root: Path) -> None:
    known.unchanged(root)
    known.forget(root)


def _dockerfile(root: Path) -> object:
    read = dockerfile.read(root / "services" / "api" / "Dockerfile")
    read.mounts_secret("x")
    read.health("run")
    return dockerfile.images(read, "run", args={}, contexts=())


def _ignore(root: Path) -> object:
    rules = ignore.of_context(root / "services" / "api")
    return [rules.judge(path, ()) for path in ("a", "app/x.py")]


def _docker_config(root: Path) -> object:
    docker_config.read(root / "docker")
    return [credentials.login_of(host, root / "docker") for host in ("ghcr.io", credentials.HUB)]


def _state(_root: Path, data: bytes) -> object:
    found = json.loads(data)  # by Pulumi's own API: what is no JSON never comes this far
    resources = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    list(releases.needed_by_state("dev", resources))
    return [(line.when, line.source, line.images) for line in releases.releases_of("dev", resources)]


def _report(root: Path) -> object:
    report = scan._read(root / "report.json", root / "log")
    findings.findings(report)  # what every report has to pass
    joined = trivy.joined([("linux/amd64", report), ("linux/arm64", report)], report.get("Results") or [])
    found = findings.verdict(Scan(), joined, "api", TODAY)
    return None if found.passed else findings.refusal(found, "api")


def _sbom(root: Path) -> object:
    return trivy.joined_sbom([scan._read(root / "report.json", root / "log", trivy.Packages)] * 2)


def _database(root: Path) -> object:
    _put(root / "cache" / "trivy" / "db" / "trivy.db", b"x")
    return scan.database(standing(workspace.load(root)), datetime.now(UTC))


def _metadata(root: Path) -> object:
    return provenance.predicate(baking.metadata_of(root / "metadata.json"), ["api"])


def _progress(_root: Path, data: bytes) -> object:
    reader = Progress(["api"])
    return [reader.feed(line) for line in data.decode(errors="replace").splitlines()]


def _lists(_root: Path, data: bytes) -> object:
    lines = data.decode(errors="replace").splitlines()
    return cache.reclaimable(lines, 1), history.newest(lines, "api", datetime(2026, 1, 1, tzinfo=UTC))


def _instances(root: Path) -> object:
    return builder.registered(root / "buildx"), builder._endpoints(root / "buildx", builder.NAME)


def _layout(root: Path) -> object:
    layout = root / "layout"
    oci.lend([layout], root / "lent")
    scan.images(layout)
    oci.oci_digest(layout)
    return oci.check(layout)


def _manifest(root: Path) -> object:
    index = {"manifests": [{"mediaType": oci.MANIFEST, "digest": SHA, "size": 2}]}
    _put(root / "manifest" / "index.json", _json(index))
    oci.lend([root / "manifest"], root / "lent")
    return oci.check(root / "manifest")


def _bundle(_root: Path, data: bytes) -> object:
    manifest = Manifest(SHA, "application/vnd.oci.image.manifest.v1+json", b"{}")
    found = attached.taken_apart(manifest, data)
    return found.predicate, found.annotations(SHA)


def _objects(_root: Path, data: bytes) -> object:
    owner = stack.Stack("dev", Path("x"), "external", "kubernetes", protected=False)
    door = cluster.Cluster(Path("kubectl"), Where("shop-dev"), owner)
    every = door.decoded(data.decode(errors="replace"), Objects, ["kubectl"]).items
    found = [each for each in every if isinstance(each, Pod)]
    sorted((each for each in every if isinstance(each, Event)), key=lambda event: event.when)
    told = [pods.trouble_of(each) for each in found], pods.restarts_of(found), [pods.is_ready(each) for each in found]
    return told, [pods.trouble_with(each, found) for each in every if isinstance(each, Deployment)]


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
    return [provider_files.owner(Container(), user) for user in ("app", "app:app", name)]


def _words(_root: Path, data: bytes) -> None:
    for each in data.decode(errors="replace").split("\n"):
        schedule.problem(each)
        peers.good(each, words=(peers.ANYWHERE,))
        with suppress(ValueError):
            healthcheck.seconds(each)


def _reader(name: str, example: object, read: Callable[[Path], object], place: str) -> Reader:
    return Reader(name, example.encode() if isinstance(example, str) else _json(example), _file(place, read))


READERS = (
    _reader("workspace.toml", good.WORKSPACE, _settings, "workspace.toml"),
    _reader("service.toml", good.SERVICE, _settings, "services/api/service.toml"),
    _reader("a job's service.toml", good.JOB, _settings, "services/job/service.toml"),
    _reader("Pulumi.STACK.yaml", good.STACK, _stack, "infra/Pulumi.staging.yaml"),
    _reader("Pulumi.yaml", good.PROJECT, state.local_state, "infra/Pulumi.yaml"),
    _reader("bases.lock.json", good.BASES, bases.load, "bases/bases.lock.json"),
    _reader("dev.lock.json", good.LOCK, lambda root: lock.load(root, "dev"), "deploy/dev.lock.json"),
    _reader("identities.toml", good.IDENTITIES, lambda root: trust.load(root).digest, "policy/identities.toml"),
    _reader("a trusted key", good.PEM, lambda root: trust.load(root).digest, "policy/keys/a.pub"),
    _reader("a record", good.RECORD, _records, ".slipway/records/20260301T120000Z-deploy-1.json"),
    _reader(
        "known.json",
        {
            "format": known.FORMAT,
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
        lambda root: evidence._remembered(workspace.load(root), TODAY),
        ".slipway/verified.json",
    ),
    _reader(
        "prune.json",
        {"shop/api": [SHA]},
        lambda root: prune._read_journal(workspace.load(root)),
        ".slipway/run/prune.json",
    ),
    _reader(
        "the signing password",
        "secret\n",
        lambda root: keys._password(workspace.load(root), {}),
        ".slipway/signing/password",
    ),
    _reader(
        "what a build was of",
        {"app/main.py": "f"},
        lambda root: build.last_manifest(workspace.load(root), "api"),
        f".slipway/{build.MANIFESTS}/api.json",
    ),
    _reader(
        "an image's layers",
        [{"digest": SHA, "size": 5, "made": "RUN x"}],
        lambda root: layers._layers(workspace.load(root), "api", f"127.0.0.1:1/shop/api@{SHA}"),
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
    Reader("Trivy's database", _json(good.TRIVY), _file("cache/trivy/db/metadata.json", _database), (scan.NotUsable,)),
    _reader("buildx' metadata", good.METADATA, _metadata, "metadata.json"),
    Reader("BuildKit's progress", _lines(good.VERTICES), _progress),
    Reader("buildx' lists", _lines(good.LISTS), _lists),
    _reader("buildx' instances", good.INSTANCES, _instances, f"buildx/instances/{builder.NAME}"),
    _reader("an OCI index", good.OCI_INDEX, _layout, "layout/index.json"),
    _reader("an OCI manifest", good.OCI_MANIFEST, _manifest, f"manifest/blobs/sha256/{'a' * 64}"),
    _reader("a pid file", {"pid": 4194304, "born": "x"}, lambda root: background.running(root / "d"), "d/pid.json"),
    _reader(
        "tools' versions",
        {"/usr/bin/crane 1 2": "0.20.0"},
        lambda _root: find._remembered(),
        f"cache/slipway/tools/{find.VERSIONS}",
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
        junit.of_stage("api", "boom").encode(),
        lambda _root, data: junit.read(junit.joined([data.decode(errors="replace")] * 2)),
        (ValueError,),
    ),
    Reader(
        "the gateway's nginx.conf",
        nginx.config([nginx.Route("api", "/api", "api:8000")], drain_seconds=10).encode(),
        lambda _root, data: nginx.read_back(data.decode(errors="replace")),
    ),
    Reader("an image's users", good.PASSWD.encode(), _passwd),
    Reader("schedules, peers, durations", good.WORDS.encode(), _words),
)
