"""A team's own target is found by its name and deploys; Slipway says what it cannot see there."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest
from tests.unit.targets.kubernetes.declared import declare

from slipway._internal.context.reporter import NullReporter
from slipway._internal.context.run_context import RunContext
from slipway._internal.model import own_targets
from slipway._internal.model import stack as stacks
from slipway._internal.model import workspace as workspaces
from slipway._internal.model.errors import ConfigError
from slipway._internal.release.inputs import read_inputs
from slipway._internal.targets import target_of

TARGET = '''
import pulumi
from slipway.pulumi import Services, ServicesArgs, Suffix


def declare_services(args: ServicesArgs, opts: pulumi.ResourceOptions | None = None) -> Services:
    """Declare the services on our own machines."""
    found = [Suffix(each.name, of=args.environment(each), opts=opts) for each in args.workspace.services]
    return Services({"api": "https://example/api"}, found)
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.toml").write_text('name = "shop"\nregistry = "127.0.0.1:5000"\n')
    service = tmp_path / "services" / "api"
    service.mkdir(parents=True)
    (service / "Dockerfile").write_text("FROM scratch\n")
    (service / "service.toml").write_text('kind = "x"\nroute = "/api"\nport = 8000\n')
    (tmp_path / "infra" / "targets").mkdir(parents=True)
    (tmp_path / "infra" / "targets" / "rack.py").write_text(TARGET)
    settings(tmp_path, "rack")
    return tmp_path


def settings(root: Path, target: str) -> None:
    (root / "infra" / "Pulumi.dev.yaml").write_text(
        f"config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:target: {target}\n"
    )


def test_it_declares_what_runs_with_the_options_that_it_is_given(root: Path) -> None:
    found = declare(root, opts=pulumi.ResourceOptions(protect=True))
    assert found.urls == {"api": "https://example/api"}
    assert found.waited == {("Suffix", "api")} == found.objects.keys()
    assert "ROUTE" in str(found["Suffix", "api"])


def test_a_name_that_nobody_knows_is_refused_with_those_that_are_known(root: Path) -> None:
    settings(root, "moon")
    with pytest.raises(ConfigError, match=r"dev\.yaml:4: `slipway:target` is 'moon'") as caught:
        stacks.load(root, "dev", {})
    assert "docker, kubernetes, rack." in caught.value.remedy and "infra/targets/NAME.py" in caught.value.remedy


def test_what_it_returns_has_to_be_services(root: Path) -> None:
    file = root / "infra" / "targets" / "rack.py"
    file.write_text("def declare_services(args, opts=None):\n    return {}\n")
    with pytest.raises(ConfigError, match=r"rack\.py: declare_services returned dict"):
        declare(root)


def test_what_is_wrong_in_it_is_named_by_file_and_line(root: Path) -> None:
    file = root / "infra" / "targets" / "rack.py"
    file.write_text("def declare_services(args, opts=None):\n    return args.nothing\n")
    with pytest.raises(ConfigError) as caught:
        declare(root)
    assert f"{file}:2: AttributeError" in caught.value.message


@pytest.mark.parametrize(
    ("target", "path", "own"),
    [
        ("docker", "docker.py", "own-docker"),
        ("kubernetes", "kubernetes/__init__.py", "own-kubernetes"),
        ("kubernetes", "kubernetes.py", "own-kubernetes"),
        ("kubernetes", "kubernetes/pods.py", "own-kubernetes"),
    ],
)
def test_a_target_of_an_earlier_version_is_refused_and_never_silently_not_used(
    root: Path, target: str, path: str, own: str
) -> None:
    settings(root, target)
    file = root / "infra" / "targets" / path
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    workspace, stack = workspaces.load_workspace(root), stacks.load(root, "dev", {})
    for work in (lambda: read_inputs(RunContext(workspace, root, {}), stack, NullReporter()), lambda: declare(root)):
        with pytest.raises(ConfigError, match=f"{path} is not used") as caught:
            work()
        assert "transforms" in caught.value.remedy and f"slipway:target: {own}" in caught.value.remedy
    settings(root, "rack")
    assert declare(root).urls, "a stack on another target is none of its business"


def test_what_slipway_cannot_see_there_it_says(root: Path) -> None:
    target = target_of(workspaces.load_workspace(root), stacks.load(root, "dev", {}))
    assert target.service_health(["api"]) == {"api": "not observed"}
    for work in (lambda: target.status(dict), lambda: target.logs("api", follow=False, tail=1)):
        with pytest.raises(ConfigError, match=r"rack\.py.*cannot see") as caught:
            work()
        assert "invoke releases --stack dev" in caught.value.remedy


def test_an_update_says_which_files_are_not_used_any_more() -> None:
    paths = ["infra/targets/docker.py", "infra/targets/kubernetes/pods.py", "infra/targets/rack.py", "infra/docker.py"]
    assert own_targets.shadowing_targets(paths) == paths[:2]
    note = own_targets.shadowing_target_note(paths[1])
    assert paths[1] in note and "a deploy refuses it" in note and "own-kubernetes.py" in note
