"""What Slipway believes about BuildKit, held against a real one: what it is sent, and what comes of it.

A BuildKit is taken from SLIPWAY_TEST_BUILDKIT (its address), a registry from SLIPWAY_TEST_REGISTRY
(`host:port`); where they are not set, the toolchain starts its own, which go afterwards.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway._internal.commands import bake, buildkit_progress
from slipway._internal.content import build_context, dockerignore, normalized_contexts
from slipway._internal.content.digest import BuildInputs, content_digest
from slipway._internal.content.normalized_contexts import normalize_inputs
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.run import registry
from slipway._internal.run.process import ProcessResult, run
from slipway._internal.toolchain import builder
from slipway._internal.toolchain import registry_daemon as local_registry
from slipway._internal.toolchain.install import ensure_tool

pytestmark = pytest.mark.engine
BUILDER = "slipway-test"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of this module's own; BuildKit's socket goes into it."""
    for name in ("registry", "buildkit", "docker-buildx", "crane"):
        ensure_tool(name)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def buildkit(state: Path) -> Iterator[str]:
    address = os.environ.get("SLIPWAY_TEST_BUILDKIT")
    if address:
        yield address
        return
    if not builder.runs_as_process():
        pytest.skip("BuildKit as a process needs root; set SLIPWAY_TEST_BUILDKIT")
    yield builder.ensure_builder().address
    builder.stop_builder()


@pytest.fixture(scope="module")
def repository(state: Path) -> Iterator[str]:
    address = os.environ.get("SLIPWAY_TEST_REGISTRY")
    if address:
        yield f"{address}/slipway-test-content"
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    local_registry.ensure_local_registry(address)
    yield f"{address}/slipway-test-content"
    local_registry.stop_local_registry(address)


@pytest.fixture(scope="module")
def environment(buildkit: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    env = {"BUILDX_CONFIG": str(tmp_path_factory.mktemp("buildx"))}
    made = run(
        [ensure_tool("docker-buildx"), "create", "--name", BUILDER, "--driver", "remote", buildkit],
        env=env,
        timeout=60,
    )
    assert made.code == 0, made.output
    return env


@dataclass(frozen=True)
class Sent:
    """One thing that arrived in an image."""

    kind: str
    mode: int
    content: str
    attributes: tuple[tuple[str, str], ...] = ()


KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.LNKTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.FIFOTYPE: "pipe",
}


def arrived(buildkit: str, context: Path, *more: str, dockerfile: Path | None = None) -> dict[str, Sent] | None:
    """Copy a whole context into an image and return what is in it; None when BuildKit refuses."""
    command = [
        str(ensure_tool("buildctl")),
        f"--addr={buildkit}",
        "build",
        "--frontend=dockerfile.v0",
        "--progress=plain",
        f"--local=context={context}",
        f"--local=dockerfile={dockerfile or context}",
        "--output=type=tar",
        *more,
    ]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if done.returncode:
        return None
    found = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            kind = KINDS[member.type]
            file = archive.extractfile(member) if kind == "file" else None
            content = file.read().decode() if file else member.linkname
            attributes = tuple(
                sorted(
                    (key.removeprefix("SCHILY.xattr."), value)
                    for key, value in member.pax_headers.items()
                    if key.startswith("SCHILY.xattr.user.")
                )
            )
            mode = 0 if kind == "link" else member.mode
            found[member.name.rstrip("/")] = Sent(kind, mode, content, attributes)
    return found


def expected(context: Path, rules: dockerignore.Dockerignore) -> dict[str, Sent]:
    """Return what Slipway believes to be sent."""
    found = {}
    for entry in build_context.walk(context, rules):
        path = context / entry.path
        content, attributes = "", ()
        if entry.kind == "link":
            content = str(path.readlink())
        elif entry.kind == "file" and path.is_file():
            content = path.read_bytes().decode()
        if not path.is_symlink():
            names = [name for name in os.listxattr(path) if name.startswith("user.")]
            attributes = tuple(sorted((name, os.getxattr(path, name).decode()) for name in names))
        found[entry.path] = Sent(entry.kind, entry.mode, content, attributes)
    return found


NAMES = st.sampled_from(["a", "b", "foo", "foo.txt", "a.b", "b c", "é", "[x]", "*", "!n", "#h", ".hid", "Foo"])
PARTS = st.one_of(
    st.sampled_from(["a", "b", "foo", "*", "**", "?", "f*", "*.txt", "[ab]", "[^a]", "[a-f]oo", "foo.txt", "a.b"]),
    st.sampled_from(["**a", "b**", "\\*", "\\!n", ".", "..", "é*", "[*]", "\\d", "[[:alpha:]]", "[", "x\\", "[z-a]"]),
)
PATTERNS = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "", "", "!", "!", "/", "!/", " ", "#"]),
    st.lists(PARTS, min_size=1, max_size=3),
    st.sampled_from(["", "", "", "/", " ", "\r"]),
)
CONTENT = st.one_of(
    st.text("xyz", max_size=3),  # a file
    st.sampled_from([None, None]),  # an empty folder
    st.sampled_from(["link:a", "link:../foo", "link:/etc/passwd"]),
)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), CONTENT, max_size=12)
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o4755])
CASES = st.tuples(TREES, st.lists(PATTERNS, min_size=1, max_size=4), MODES)
TOGETHER = 9
"""Contexts in one build, each with an ignore file of its own: the main one and the named ones."""
Case = tuple[dict[str, str | None], list[str], int]


def plant(root: Path, case: Case, ignore_file: str = ".dockerignore") -> Path:
    """Make a context with its ignore file in a folder."""
    tree, patterns, mode = case
    root.mkdir(parents=True)
    for name, content in tree.items():
        path = root / name
        if any(parent.is_symlink() or parent.is_file() for parent in path.parents) or os.path.lexists(path):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif content.startswith("link:"):
            path.symlink_to(content.removeprefix("link:"))
        else:
            path.write_text(content)
            path.chmod(mode)
    (root / ignore_file).write_text("\n".join(patterns))
    return root


@given(
    st.lists(CASES, min_size=TOGETHER, max_size=TOGETHER), st.sampled_from([".dockerignore", "Dockerfile.dockerignore"])
)
@settings(
    max_examples=int(os.environ.get("SLIPWAY_TEST_EXAMPLES", "1200")) // TOGETHER,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_what_is_hashed_is_what_buildkit_is_sent(
    buildkit: str, tmp_path: Path, cases: list[Case], ignore_file: str
) -> None:
    """1,200 contexts and ignore files, nine in a build; one whose patterns are refused has a build of its own."""
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    main, *named = [
        plant(work / f"c{number}", case, ignore_file if number == 0 else ".dockerignore")
        for number, case in enumerate(cases)
    ]
    believed = {each.name: believed_of(each, dockerignore.load_dockerignore) for each in named}
    for name, sent in believed.items():
        if sent is None:
            (work / name / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
            assert arrived(buildkit, work / name) is None, (work / name / ".dockerignore").read_text()
    good = [each for each in named if believed[each.name] is not None]
    copies = "".join(f"COPY --from={each.name} . /{each.name}/\n" for each in good)
    (main / "Dockerfile").write_text(f"FROM scratch\nCOPY . /c0/\n{copies}")
    more = [
        f"--{word}"
        for each in good
        for word in (f"local={each.name}={sent_of(each, tmp_path)}", f"opt=context:{each.name}=local:{each.name}")
    ]
    of_main = believed_of(main, lambda root: dockerignore.load_dockerignore(root, root / "Dockerfile"))
    if of_main is None:
        assert arrived(buildkit, main, *more) is None
        return
    found = arrived(buildkit, sent_of(main, tmp_path, main / "Dockerfile"), *more, dockerfile=main)
    assert found is not None
    assert below("c0/", found) == of_main
    for each in good:
        assert below(f"{each.name}/", found) == believed[each.name]


def sent_of(context: Path, scratch: Path, dockerfile: Path | None = None) -> Path:
    """Return the folder that is built from: the context, or its copy with the modes that git keeps."""
    return normalized_contexts.normalize_context(context, dockerignore.load_dockerignore(context, dockerfile), scratch)


def believed_of(context: Path, rules: Callable[[Path], dockerignore.Dockerignore]) -> dict[str, Sent] | None:
    """Return what Slipway believes to be sent of a context; None where it believes that BuildKit refuses."""
    try:
        return expected(context, rules(context))
    except ConfigError:
        return None


def below(folder: str, found: dict[str, Sent]) -> dict[str, Sent]:
    return {path.removeprefix(folder): each for path, each in found.items() if path.startswith(folder)}


def test_links_modes_attributes_and_things_that_are_no_files(
    buildkit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (tmp_path / "one").write_text("same")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "setuid").touch()
    (tmp_path / "setuid").chmod(0o4755)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with suppress(OSError):  # not every file system has them
        os.setxattr(tmp_path / "one", "user.colour", b"blue")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("socket")
        rules = dockerignore.load_dockerignore(tmp_path)
        (scratch := tmp_path.with_name("scratch")).mkdir()
        sent = normalized_contexts.normalize_context(tmp_path, rules, scratch)
        assert sent != tmp_path
        assert arrived(buildkit, sent) == expected(tmp_path, rules)


@pytest.mark.parametrize(
    "ignores",
    [
        {".dockerignore": "a"},
        {".dockerignore": "a", "Dockerfile.dockerignore": "b"},
        {".dockerignore": "a", "Dockerfile.dockerignore": ""},
        {".dockerignore": "Dockerfile\n.dockerignore"},
        {".dockerignore": "\ufeffa"},
        {".dockerignore": "link:rules", "rules": "a"},
        {".dockerignore": "link:/rules", "rules": "a"},
        {".dockerignore": "link:../rules"},
        {".dockerignore": "link:.dockerignore"},
        {"lib/.dockerignore": "x"},
        {"lib/Dockerfile.dockerignore": "x", "lib/.dockerignore": "y"},
    ],
    ids=str,
)
def test_each_context_has_its_own_ignore_file(buildkit: str, tmp_path: Path, ignores: dict[str, str]) -> None:
    context = tmp_path / "context"
    lib = context / "lib"
    lib.mkdir(parents=True)
    (tmp_path / "rules").write_text("b")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /main/\nCOPY --from=common . /lib/\n")
    for name in ("a", "b", "lib/x", "lib/y"):
        (context / name).write_text(name)
    for name, text in ignores.items():
        if text.startswith("link:"):
            (context / name).symlink_to(text.removeprefix("link:"))
        else:
            (context / name).write_text(text)
    main = expected(context, dockerignore.load_dockerignore(context, context / "Dockerfile"))
    named = expected(lib, dockerignore.load_dockerignore(lib))
    found = arrived(buildkit, context, f"--local=common={lib}", "--opt=context:common=local:common")
    assert found is not None
    assert below("main/", found) == main
    assert below("lib/", found) == named


def pair(root: Path) -> BuildInputs:
    """Make a service and its lib, with things that their ignore files leave out."""
    api, lib = root / "services" / "api", root / "libs" / "common"
    (api / "app" / "empty").mkdir(parents=True)
    (api / "notes").mkdir()
    lib.mkdir(parents=True)
    dockerfile = "FROM scratch AS base\nARG PART\nCOPY . /main/\nCOPY ${PART} /part/\nCOPY --from=common . /lib/\n"
    (api / "Dockerfile").write_text(f"{dockerfile}FROM base AS run\n")
    (api / ".dockerignore").write_text("notes\n*.tmp\n!keep.tmp\n")
    (api / "app" / "main.py").write_text("one")
    (api / "app" / "link").symlink_to("main.py")
    for name in ("a.tmp", "keep.tmp", "notes/day", "extra.py"):
        (api / name).write_text("one")
    (lib / ".dockerignore").write_text("draft\n")
    (lib / "bread.py").write_text("one")
    (lib / "draft").write_text("one")
    return BuildInputs(api / "Dockerfile", api, {"common": lib}, "run", ("linux/amd64",), {"PART": "app"})


def masked(root: Path, folder: int, file: int) -> None:
    """Give all that is in a folder the modes that a clone with a certain umask has."""
    for path in [*root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(folder if path.is_dir() else file)


def write(path: str, text: str = "two") -> Callable[[Path], object]:
    return lambda root: (root / path).write_text(text)


def relink(root: Path) -> None:
    (root / "services/api/app/link").unlink()
    (root / "services/api/app/link").symlink_to("empty")


SAME: dict[str, Callable[[Path], object]] = {
    "times": lambda root: os.utime(root / "services/api/app/main.py", (1, 1)),
    "what is left out": write("services/api/a.tmp"),
    "in a folder that is left out": write("services/api/notes/more"),
    "what the lib leaves out": write("libs/common/draft"),
    "beside the contexts": write("libs/other"),
    "a clone with umask 002": lambda root: masked(root, 0o775, 0o664),
    "a clone with umask 077": lambda root: masked(root, 0o700, 0o600),
    "modes that git does not keep": lambda root: masked(root, 0o3775, 0o4444),
    "a context that its group may write": lambda root: (root / "services/api").chmod(0o775),
}
OTHER: dict[str, Callable[[Path], object]] = {
    "a file": write("services/api/app/main.py"),
    "an executable bit": lambda root: (root / "services/api/app/main.py").chmod(0o755),
    "an empty folder": lambda root: (root / "services/api/app/more").mkdir(),
    "an empty folder less": lambda root: (root / "services/api/app/empty").rmdir(),
    "a link": relink,
    "what is taken back in": write("services/api/keep.tmp"),
    "a lib": write("libs/common/bread.py"),
    "a file of the lib that only the service's own file leaves out": write("libs/common/b.tmp"),
    "a name": lambda root: (root / "services/api/extra.py").rename(root / "services/api/other.py"),
    "letters of a name": lambda root: (root / "services/api/extra.py").rename(root / "services/api/Extra.py"),
    "an ignore file for the Dockerfile": write("services/api/Dockerfile.dockerignore", "app/main.py\n"),
    "the lib's ignore file": write("libs/common/.dockerignore", "bread.py\n"),
}


@pytest.mark.parametrize(
    ("change", "same"),
    [*((c, True) for c in SAME.values()), *((c, False) for c in OTHER.values())],
    ids=[*SAME, *OTHER],
)
def test_the_digest_is_the_same_exactly_when_the_image_is(
    buildkit: str, tmp_path: Path, change: Callable[[Path], object], same: bool
) -> None:
    """The content digest tells the truth: it changes when the image of a real BuildKit does, and only then."""
    inputs = pair(tmp_path)

    def image() -> dict[str, Sent] | None:
        options = ("--opt=target=run", "--opt=build-arg:PART=app", "--opt=context:common=local:common")
        sent = normalize_inputs(inputs, tmp_path / ".slipway")
        options = (*options, f"--local=common={sent.contexts['common']}")
        return arrived(buildkit, sent.context, *options, dockerfile=inputs.dockerfile.parent)

    before = content_digest(inputs), image()
    change(tmp_path)
    after = content_digest(inputs), image()
    assert (before[0] == after[0], before[1] == after[1]) == (same, same)


def test_names_that_are_no_utf8_are_sent(buildkit: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (tmp_path / os.fsdecode(b"\xff")).write_text("x")
    found = arrived(buildkit, tmp_path)
    assert found is not None
    assert set(found) == {entry.path for entry in build_context.walk(tmp_path)}


def shell_root(folder: Path) -> Path:
    """Fill a folder with this machine's shell and `cat`, enough for RUN in an image from nothing."""
    for program in ("/bin/sh", "/bin/cat"):
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
        for source in (program, *(word for word in listed if word.startswith("/"))):
            target = folder / source.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755)
    return folder


SCRIPT = """echo "$WORDS" > /words
read word < /run/secrets/word
echo length ${#word} > /secret
echo told to the log"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> BuildInputs:
    """A service with a shell, a lib, an argument and a secret, and names that quoting could get wrong."""
    root = tmp_path_factory.mktemp("work") / "a, b ${c}"
    api, lib = root / "services" / "api", root / "libs" / "common"
    shell_root(api / "root")
    lib.mkdir(parents=True)
    (lib / "common.py").write_text("x = 1\n")
    (api / "Dockerfile").write_text(
        "ARG SOURCE_DATE_EPOCH\n"
        "FROM scratch AS build\n"
        "COPY root /\n"
        "COPY --from=common . /common/\n"
        "ARG WORDS\n"
        f"RUN --mount=type=secret,id=word {json.dumps(['/bin/sh', '-c', SCRIPT])}\n"
        "FROM build AS run\n"
        'CMD ["/bin/cat", "/words"]\n'
    )
    return BuildInputs(
        dockerfile=api / "Dockerfile",
        context=api,
        contexts={"common": lib},
        target="run",
        platforms=("linux/amd64",),
        args={"WORDS": 'it\'s ${HOME} %{x} "two"'},
    )


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret, of mine"
    path.write_text("hush-hush\n")
    return path


def carry_out(
    environment: dict[str, str],
    targets: list[bake.BakeTarget],
    output: str,
    folder: Path,
    *,
    fresh: bool = False,
    stage: str | None = None,
) -> tuple[ProcessResult, list[buildkit_progress.BuildEvent], buildkit_progress.ProgressParser]:
    definition = bake.make_definition(targets, output, folder / "oci", stage)
    if fresh:
        for target in definition["target"].values():
            target["no-cache"] = True
    file = folder / "bake.json"
    file.write_text(json.dumps(definition))
    follower = buildkit_progress.ProgressParser([target.service for target in targets])
    events: list[buildkit_progress.BuildEvent] = []
    command = bake.argv(ensure_tool("docker-buildx"), file, BUILDER, targets, oci_dir=folder / "oci")
    result = run(
        command,
        cwd=folder,
        env=environment,
        on_line=lambda line: events.extend(follower.feed(line)),
        timeout=300,
    )
    return result, events, follower


def image_files(layout: Path) -> dict[str, bytes]:
    """Return the plain files of the image in an OCI layout."""
    manifest = json.loads(blob(layout, registry.oci_digest(layout)))
    found = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(layout, layer["digest"]))) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file:
                    found[member.name] = file.read()
    return found


def blob(layout: Path, digest: str) -> bytes:
    data = (layout / "blobs" / digest.replace(":", "/")).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest.partition(":")[2]
    return data


def test_bake_builds_what_the_inputs_say(
    service: BuildInputs, secret: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    target = bake.BakeTarget("api", service, ("127.0.0.1:1/x/api:h-1",), {"word": secret})
    result, events, follower = carry_out(environment, [target], "oci", tmp_path)
    assert result.code == 0, follower.text
    found = image_files(tmp_path / "oci" / "api")
    assert found["words"] == b'it\'s ${HOME} %{x} "two"\n'
    assert found["secret"] == b"length 9\n"
    assert found["common/common.py"] == b"x = 1\n"
    assert "told to the log" in [event.text for event in events if event.kind == "log"]
    assert b"hush" not in b"".join(found.values())
    assert "hush" not in result.output + (tmp_path / "bake.json").read_text()


def test_the_same_content_is_the_same_image_wherever_and_whenever(
    service: BuildInputs, secret: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    root = service.context.parents[1]
    elsewhere = tmp_path / "another" / "checkout"
    shutil.copytree(root, elsewhere, copy_function=shutil.copy)
    for path in elsewhere.rglob("*"):
        os.utime(path, (500_000_000, 500_000_000))
    moved = replace(
        service,
        dockerfile=elsewhere / "services/api/Dockerfile",
        context=elsewhere / "services/api",
        contexts={"common": elsewhere / "libs/common"},
    )
    assert content_digest(moved) == content_digest(service)
    digests = set()
    for number, inputs in enumerate((service, moved)):
        folder = tmp_path / str(number)
        folder.mkdir()
        target = bake.BakeTarget("api", inputs, (), {"word": secret})
        result, _, follower = carry_out(environment, [target], "oci", folder, fresh=True)
        assert result.code == 0, follower.text
        digests.add(registry.oci_digest(folder / "oci" / "api"))
    assert len(digests) == 1


def test_an_inline_build_and_an_external_one_give_the_same_digest(
    service: BuildInputs, secret: Path, environment: dict[str, str], repository: str, tmp_path: Path
) -> None:
    inline, external = f"{repository}/inline:h-1", f"{repository}/external:h-1"
    for ref, output in ((inline, "registry"), (external, "oci")):
        target = bake.BakeTarget("api", service, (ref,), {"word": secret})
        result, _, follower = carry_out(environment, [target], output, tmp_path, fresh=True)
        assert result.code == 0, follower.text
    layout = tmp_path / "oci" / "api"
    pushed = registry.push_layout(ensure_tool("crane"), layout, external)
    found = registry.resolve_digests(
        [inline, external, f"{repository}/external:other", f"{repository}/external@{pushed}"],
        Workspace(tmp_path, WorkspaceSettings("demo", repository.partition("/")[0]), ()),
    )
    assert found == {
        inline: pushed,
        external: pushed,
        f"{repository}/external:other": None,
        f"{repository}/external@{pushed}": pushed,
    }


def test_an_archive_pushes_to_the_digest_it_says(
    service: BuildInputs, secret: Path, environment: dict[str, str], repository: str, tmp_path: Path
) -> None:
    target = bake.BakeTarget("api", service, (), {"word": secret})
    carry_out(environment, [target], "oci", tmp_path)
    layout = tmp_path / "oci" / "api"
    packed = tmp_path / "api.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(layout, ".")
    assert registry.oci_digest(packed) == registry.oci_digest(layout)
    assert (
        registry.Registry(registry.parse_reference(repository).host).resolve_digest("slipway-test-content/none", "x")
        is None
    )


def test_a_failed_step_is_told_to_its_service_and_a_shared_one_to_both(
    service: BuildInputs, environment: dict[str, str], tmp_path: Path
) -> None:
    targets = []
    for name in ("good", "bad"):
        context = tmp_path / name
        shell_root(context / "root")
        end = "exit 3" if name == "bad" else "true"
        (context / "Dockerfile").write_text(
            "FROM scratch AS test\nCOPY root /\n"
            f'RUN ["/bin/sh", "-c", "echo both hear {tmp_path.name}; printf open-ended"]\n'
            f'RUN ["/bin/sh", "-c", "echo only {name} >&2; {end}"]\n'
            "FROM test AS run\n"
        )
        targets.append(bake.BakeTarget(name, BuildInputs(context / "Dockerfile", context, target="run")))
    result, events, follower = carry_out(environment, targets, "none", tmp_path, stage="test")
    assert result.code != 0
    for name in ("good", "bad"):
        lines = [event.text for event in events if event.kind == "log" and event.target == name]
        assert f"both hear {tmp_path.name}" in lines
        assert "open-ended" in lines
    heard = [event.text for event in events if event.kind == "log" and event.target == "bad"]
    assert "only bad" in heard
    assert "only good" not in heard
    failed = [event for event in events if event.kind == "failed" and event.target == "bad"]
    assert [(event.step.stage, event.step.number, event.step.total) for event in failed] == [("test", 3, 3)]
    assert "exit code: 3" in failed[0].text
    assert any("failed to solve" in line for line in follower.text)
