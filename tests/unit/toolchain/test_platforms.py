"""What a builder can build is known before a build; a workspace with native builders has a builder of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slipway._internal.model.addresses import builder_problem
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.workspace import BuildSettings, Workspace, WorkspaceSettings, load_workspace
from slipway._internal.toolchain import builder, platforms
from slipway._internal.toolchain.builder import Node

BOTH = ("linux/amd64", "linux/arm64")
ARM = {"linux/arm64": "tcp://10.0.0.5:1234"}


def workspace(root: Path = Path("/w"), **build: object) -> Workspace:
    return Workspace(root, WorkspaceSettings("demo", "r.example", build=BuildSettings(**build)), ())  # type: ignore[arg-type]


def node(*can: str, address: str = "unix:///b", problem: str = "") -> Node:
    return Node(address, frozenset(can), problem)


def test_platforms_may_be_built_by_different_nodes() -> None:
    nodes = [node("linux/amd64", "linux/386"), node("linux/arm64")]
    platforms.refuse_unbuildable(workspace(platforms=BOTH), nodes)
    for missing in nodes:
        with pytest.raises(SlipwayError, match="nothing here can build"):
            platforms.refuse_unbuildable(workspace(platforms=BOTH), [each for each in nodes if each is not missing])


def test_a_platform_that_no_node_has_is_named_with_what_to_do() -> None:
    with pytest.raises(SlipwayError, match="nothing here can build linux/arm64") as refused:
        platforms.refuse_unbuildable(workspace(platforms=BOTH), [node("linux/amd64")])
    assert "qemu-user-static" in str(refused.value.remedy)


def test_a_native_builder_that_does_not_answer_is_named_by_platform_and_address() -> None:
    wanted = workspace(platforms=BOTH, builders=ARM)
    with pytest.raises(SlipwayError, match=r"for linux/arm64 at .* does not answer") as refused:
        platforms.refuse_unbuildable(wanted, [node(*BOTH), node(address="tcp://10.0.0.5:1234", problem="refused")])
    assert refused.value.detail == "refused"


@pytest.mark.parametrize(("version", "taken"), [("v0.26.3", False), ("v99.0.0", True), ("", True), ("v0.0.0", True)])
def test_a_builder_whose_frontend_is_older_than_every_accepted_one_is_refused(version: str, taken: bool) -> None:
    wanted = workspace(platforms=BOTH, builders=ARM)
    nodes = [node(*BOTH), replace(node(*BOTH, address="tcp://10.0.0.5:1234"), version=version)]
    if taken:
        return platforms.refuse_unbuildable(wanted, nodes)
    with pytest.raises(SlipwayError, match=r"for linux/arm64 at .* is BuildKit v0\.26\.3, at least ") as refused:
        platforms.refuse_unbuildable(wanted, nodes)
    assert "Install a newer one there" in refused.value.remedy
    return None


def test_native_builders_make_a_builder_of_their_own_which_the_addresses_name() -> None:
    assert builder.builder_of(workspace()) == "slipway"
    one, two = (
        builder.builder_of(workspace(builders=ARM)),
        builder.builder_of(workspace(builders={"linux/arm64": "ssh://x"})),
    )
    assert one.startswith("slipway-") and two.startswith("slipway-") and one != two


def test_a_native_builder_is_a_further_node_for_its_platform_alone() -> None:
    assert builder.append_command(Path("/b/buildx"), "remote", "slipway-1", *next(iter(ARM.items()))) == [
        *("/b/buildx", "create", "--append", "--name", "slipway-1", "--driver", "remote"),
        *("--platform", "linux/arm64", "tcp://10.0.0.5:1234"),
    ]


def test_nodes_that_are_written_down_are_known_without_starting_buildx(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    known = {"Driver": "remote", "Nodes": [{"Endpoint": "unix:///s"}, {"Endpoint": "tcp://10.0.0.5:1234"}]}
    (tmp_path / "instances" / "slipway-1").write_text(json.dumps(known))
    assert builder._read_node_endpoints(tmp_path, "slipway-1") == ["unix:///s", "tcp://10.0.0.5:1234"]
    assert builder._read_node_endpoints(tmp_path, "slipway-2") == []


@pytest.mark.parametrize(
    ("build", "line", "said"),
    [
        ('platforms = ["arm64"]', 4, "not a container platform"),
        ('platforms = ["windows/amd64"]', 4, "not a container platform"),
        ('builders = { "arm64" = "tcp://x:1" }', 4, "not a container platform"),
        ('builders = { "linux/arm64" = "10.0.0.5:1234" }', 4, "not the address of a builder"),
        ('builders = { "linux/arm64" = "tcp://0:1234" }', 4, "not an IP address"),
        ('builders = { "linux/arm64" = "tcp://127.1:1234" }', 4, "not an IP address"),
        ('builders = { "linux/arm64" = "ssh://ci@0x7f000001" }', 4, "not an IP address"),
        ('builders = { "linux/arm64" = "tcp://0.0.0.0:1234" }', 4, "not belong to a machine"),
        ('builders = { "linux/arm64" = "tcp://arm.example" }', 4, "no port"),
        ('builders = { "linux/arm64" = "tcp://arm.example:70000" }', 4, "no port"),
        ('builders = { "linux/arm64" = "tcp://:1234" }', 4, "no host name"),
        ('builders = { "linux/arm64" = "ssh://-oProxyCommand=x" }', 4, "no host name"),
        ('builders = { "linux/arm64" = "ssh://-oProxyCommand=x@arm.example" }', 4, "names a user"),
        ('builders = { "linux/arm64" = "unix://run/buildkitd.sock" }', 4, "does not begin with /"),
    ],
)
def test_what_is_no_platform_or_address_is_found_when_it_is_read(
    tmp_path: Path, build: str, line: int, said: str
) -> None:
    (tmp_path / "workspace.toml").write_text(f'name = "demo"\nregistry = "r.example"\n[build]\n{build}\n')
    with pytest.raises(ConfigError, match=f"workspace.toml:{line}: .*{said}"):
        load_workspace(tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://10.0.0.5:1234",
        "tcp://[::1]:1234",
        "ssh://arm.example",
        "ssh://ci@arm_1.example:2222",
        "unix:///run/buildkit/buildkitd.sock",
        "docker-container://buildkitd",
    ],
)
def test_what_buildx_takes_as_an_address_is_one(address: str) -> None:
    assert not builder_problem(address)


class Builders:
    """Stands for the builder: what was asked of it, and what its nodes can build."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.registered: list[str] = []
        self.emulated: list[list[str]] = []
        self.listed = 0
        monkeypatch.setattr(platforms.emulation, "native_platform", lambda: "linux/amd64")
        monkeypatch.setattr(platforms.emulation, "ensure_emulation", lambda names, **_: self.emulated.append(names))
        monkeypatch.setattr(builder, "register_native_builders", lambda of, **_: self.registered.append(of.name))
        monkeypatch.setattr(builder, "runs_as_process", lambda: True)
        monkeypatch.setattr(builder, "list_nodes", self.nodes)
        monkeypatch.setattr(platforms, "ensure_tool", lambda name, **_: Path("/bin", name))

    def nodes(self, buildx: Path, name: str, _config: Path) -> list[Node]:
        self.listed += 1
        assert (buildx, name[:7]) == (Path("/bin/docker-buildx"), "slipway")
        return [node(*BOTH)]


@pytest.mark.parametrize(
    ("build", "emulated", "registered", "listed"),
    [
        ({"platforms": ("linux/amd64",)}, [], [], 0),
        ({"platforms": BOTH}, [["linux/arm64"]], [], 1),
        ({"platforms": BOTH, "builders": ARM}, [[]], ["demo"], 1),
    ],
)
def test_only_what_this_machine_cannot_build_itself_is_emulated_and_looked_for(
    monkeypatch: pytest.MonkeyPatch,
    build: dict[str, object],
    emulated: list[list[str]],
    registered: list[str],
    listed: int,
) -> None:
    there = Builders(monkeypatch)
    platforms.ensure_platforms(workspace(**build))
    assert (there.emulated, there.registered, there.listed) == (emulated, registered, listed)
