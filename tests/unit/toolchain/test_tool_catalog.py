"""tools.toml: every tool can be had, and a slip in the file is named."""

from __future__ import annotations

import pytest

from slipway._internal.model.errors import ConfigError
from slipway._internal.toolchain.tool_catalog import find_tool, load_tools, parse_tools


@pytest.mark.parametrize("name", sorted(load_tools()))
def test_every_tool_can_be_had_without_the_open_internet_by_its_go_module(name: str) -> None:
    each = find_tool(name)
    assert each.go is not None
    binaries = each.go.packages.values()
    for_others = [f"{binary}-{arch}" for binary in binaries for arch in each.go.architectures]
    made = {*(for_others or binaries), *each.go.extra}
    assert made == set(each.binaries)
    assert all(each.go.requires)


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, tool in load_tools().items()
        if not (tool.go and tool.go.source) and tool.part_of != "the Kubernetes tests"
    ),
)
def test_every_tool_but_slipway_s_own_has_a_vendor_s_release_or_comes_beside_one_that_has(name: str) -> None:
    each = find_tool(name)
    source = each if each.release else find_tool(each.beside)
    assert source.release is not None
    release = source.release
    brought = set(source.binaries) if release.base else set(release.members) or {source.main}
    assert set(each.binaries) <= brought
    assert bool(release.base) != bool(release.repo and release.tag and release.asset)
    assert "{version}" not in f"{release.base}{release.tag}{release.asset}{release.checksums}{release.members}"


@pytest.mark.parametrize("name", sorted(load_tools()))
def test_a_tool_on_path_is_only_accepted_where_its_version_can_be_read(name: str) -> None:
    each = find_tool(name)
    assert bool(each.read) == bool(each.accepts)


def test_a_tool_is_found_by_any_of_its_binaries() -> None:
    assert find_tool("buildctl") is find_tool("buildkit")


def test_an_unknown_tool_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        find_tool("bulidx")
    assert "docker-buildx" in caught.value.remedy


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"\[trivy.release\].*'assets'"):
        parse_tools({"trivy": {"version": "1.0.0", "binaries": ["trivy"], "release": {"assets": "x"}}})
