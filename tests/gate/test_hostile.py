"""A registry that fails, drips, cuts off, lies: never a wrong digest, never a wait without end, always a clear word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.gate import registries
from tests.gate.registries import Manner, Signer, Tokens, changed, cut_short, dripping, failing, front, lying

from slipway._internal.model.errors import SlipwayError
from slipway._internal.run import registry
from slipway._internal.run.registry import Registry
from slipway._internal.toolchain.install import ensure_tool

SECONDS = 2.0
"""The clients' time limit here; a test that waits without end is stopped long after."""
PATIENCE = 60.0
OTHER = "sha256:" + "0" * 64


@dataclass(frozen=True)
class World:
    """A real registry with a signed image in it."""

    host: str
    digest: str
    layout: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    layout = registries.image(folder / "api", "one", size=5000)
    with pytest.MonkeyPatch.context() as patch, registries.serve(folder / "real") as real:
        patch.setenv("DOCKER_CONFIG", str(registries.docker_config(folder / "nobody", {})))
        patch.delenv("COSIGN_PASSWORD", raising=False)
        for name in ("SLIPWAY_PUSH_CONFIG", "SLIPWAY_PULL_CONFIG"):
            patch.delenv(name, raising=False)
        digest = registry.push_layout(ensure_tool("crane"), layout, f"{real.host}/demo/api:h-1")
        Signer.make(folder / "signer").sign(f"{real.host}/demo/api@{digest}")
        yield World(real.host, digest, layout)


def within(work: Callable[[], Any]) -> Any:
    """Return what work returns, or the error that it ends with; that it does not end fails the test."""
    results: list[Any] = []

    def carry_out() -> None:
        try:
            results.append(work())
        except SlipwayError as error:
            results.append(error)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert results, "it hangs, or ended with an error that is none for users"
    return results[0]


READS: dict[str, Callable[[Registry, str], Any]] = {
    "tag": lambda client, _: client.resolve_digest("demo/api", "h-1"),
    "digest": lambda client, digest: client.resolve_digest("demo/api", digest),
    "manifest": lambda client, digest: client.get_manifest("demo/api", digest).digest,
    "tags": lambda client, _: client.list_tags("demo/api"),
    "referrers": lambda client, digest: len(client.list_referrers("demo/api", digest)),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("status", [500, 503])
def test_a_registry_that_always_fails_is_an_error_with_its_answer(world: World, read: str, status: int) -> None:
    with front(world.host, failing(status)) as (host, handler):
        failure = within(lambda: READS[read](Registry(host, seconds=10), world.digest))
        assert isinstance(failure, SlipwayError) and f"the registry {host} answers {status}" in failure.message
        assert failure.remedy
        assert len(handler.seen) < 12


@pytest.mark.parametrize("read", READS)
def test_a_registry_that_fails_now_and_then_gives_the_right_answer_in_the_end(world: World, read: str) -> None:
    expected = READS[read](Registry(world.host), world.digest)
    with front(world.host, failing(500, times=2)) as (host, _):
        assert within(lambda: READS[read](Registry(host, seconds=30), world.digest)) == expected


@pytest.mark.parametrize("read", [name for name in READS if name != "digest"])
@pytest.mark.parametrize("headers", [False, True])
def test_a_registry_that_drips_is_left_in_time(world: World, read: str, headers: bool) -> None:
    parts = ("/manifests/", "/tags/", "/referrers/")
    drip: list[Manner] = [dripping(part, headers=headers) for part in parts]
    with front(world.host, *drip) as (host, _):
        failure = within(lambda: READS[read](Registry(host, seconds=SECONDS), world.digest))
        assert isinstance(failure, SlipwayError) and f"the registry {host}" in failure.message, failure
        assert failure.remedy


def test_a_registry_that_wants_to_be_asked_tomorrow_is_left_in_time(world: World) -> None:
    def tomorrow(self: registries.Front) -> bool:
        if self.path == "/v2/":
            return False
        self.say(429, {"Retry-After": "86400"})
        return True

    with front(world.host, tomorrow) as (host, _):
        failure = within(lambda: Registry(host, seconds=SECONDS).resolve_digest("demo/api", "h-1"))
        assert isinstance(failure, SlipwayError) and "answers 429" in failure.message


@pytest.mark.parametrize("manner", [cut_short("/manifests/"), changed("/manifests/"), lying(OTHER)])
@pytest.mark.parametrize("read", ["tag", "manifest", "digest"])
def test_bytes_that_are_not_those_of_their_digest_are_never_believed(world: World, manner: Manner, read: str) -> None:
    with front(world.host, manner) as (host, _):
        found = within(lambda: READS[read](Registry(host, seconds=10), world.digest))
        assert isinstance(found, SlipwayError) or found == world.digest
        if read != "digest":  # a HEAD has no bytes that could be wrong
            assert isinstance(found, SlipwayError) and host in found.message


def test_a_tag_is_given_to_nothing_when_the_registry_lies(world: World) -> None:
    with front(world.host, lying(OTHER)) as (host, handler):
        failure = within(lambda: Registry(host, seconds=10).add_tag("demo/api", world.digest, "v1"))
        assert isinstance(failure, SlipwayError)
        assert not [path for method, path in handler.seen if method == "PUT"]
    assert Registry(world.host).resolve_digest("demo/api", "v1") is None


@pytest.mark.parametrize("manner", [cut_short("/blobs/"), changed("/blobs/")])
def test_a_blob_is_whole_or_an_error(world: World, manner: Manner) -> None:
    proof = Registry(world.host).list_referrers("demo/api", world.digest)[0]
    layer = Registry(world.host).get_manifest("demo/api", proof.digest).blobs[-1]["digest"]
    assert Registry(world.host).read_blob("demo/api", layer, 1 << 20)
    with front(world.host, manner) as (host, _):
        failure = within(lambda: Registry(host, seconds=10).read_blob("demo/api", layer, 1 << 20))
        assert isinstance(failure, SlipwayError) and host in failure.message


@pytest.mark.parametrize(
    "manner",
    [failing(500), dripping("/uploads/"), dripping("/manifests/"), dripping("/v2/", headers=True)],
    ids=["fails", "drips uploads", "drips manifests", "drips all"],
)
def test_a_push_ends_within_its_limit_and_leaves_no_tag(world: World, tmp_path: Path, manner: Manner) -> None:
    layout = registries.image(tmp_path / "two", "two")
    with front(world.host, manner) as (host, _):
        failure = within(
            lambda: registry.push_by_digest(ensure_tool("crane"), layout, f"{host}/demo/never", timeout=SECONDS)
        )
        assert isinstance(failure, SlipwayError), failure
    assert Registry(world.host).list_tags("demo/never") == ()


@pytest.mark.parametrize(
    "manner", [cut_short("/blobs/"), changed("/blobs/"), dripping("/blobs/"), changed("/manifests/")]
)
def test_a_copy_from_it_brings_nothing_wrong_to_the_target(world: World, tmp_path: Path, manner: Manner) -> None:
    with registries.serve(tmp_path / "target") as target, front(world.host, manner) as (host, _):
        failure = within(
            lambda: registry.copy_image(
                ensure_tool("crane"),
                f"{host}/demo/api@{world.digest}",
                f"{target.host}/prod/api",
                scratch=tmp_path / "scratch",
                timeout=SECONDS * 4,
            )
        )
        assert isinstance(failure, SlipwayError), failure
        assert Registry(target.host).find_manifest("prod/api", world.digest) is None


def test_tokens_that_are_never_good_end_in_an_error_not_in_a_loop(world: World, tmp_path: Path) -> None:
    tokens = Tokens(uses=0)
    with front(world.host, tokens) as (host, _):
        config = registries.docker_config(tmp_path / "puller", {host: "puller"})
        failure = within(lambda: Registry(host, config, seconds=10).resolve_digest("demo/api", "h-1"))
        assert isinstance(failure, SlipwayError) and "answers 401" in failure.message
        assert f"docker --config {config} login {host}" in failure.remedy
        assert 1 < len(tokens.given) < 5


def test_a_token_service_that_refuses_is_named(world: World, tmp_path: Path) -> None:
    with front(world.host, Tokens(uses=5)) as (host, _):
        config = registries.docker_config(tmp_path / "puller", {host: "puller"})
        client = Registry(host, config, seconds=10)
        assert client.resolve_digest("demo/api", "h-1") == world.digest
        failure = within(lambda: client.delete_manifest("demo/api", world.digest))
        assert isinstance(failure, SlipwayError) and "token service" in failure.message
    assert Registry(world.host).find_manifest("demo/api", world.digest)


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="http://{}/token",service="x"'])
def test_a_redirect_s_target_that_asks_for_the_login_gets_it_neither_here_nor_from_crane(
    world: World, tmp_path: Path, challenge: str
) -> None:
    taken: list[str] = []

    def thief(self: registries.Front) -> bool:
        taken.append(f"{self.path} {self.headers.get('Authorization') or ''}")
        asked = self.path.startswith("/token")
        headers = {} if asked else {"WWW-Authenticate": challenge.format(self.headers["Host"])}
        self.say(200 if asked else 401, headers, b'{"token": "t"}' if asked else b'{"errors": []}')
        return True

    with front(world.host, thief) as (other, _):

        def sending_on(self: registries.Front) -> bool:
            if "/blobs/" not in self.path or self.command != "GET":
                return False
            self.say(307, {"Location": f"http://{other}{self.path}"})
            return True

        with front(world.host, registries.accounts, sending_on) as (host, _):
            config = registries.docker_config(tmp_path / "puller", {host: "puller"})
            blob = Registry(host, config).get_manifest("demo/api", world.digest).children[0]["digest"]
            layer = Registry(host, config).get_manifest("demo/api", blob).blobs[0]["digest"]
            failure = within(lambda: Registry(host, config, seconds=10).read_blob("demo/api", layer))
            assert isinstance(failure, SlipwayError) and other in failure.message
            failure = within(
                lambda: registry.copy_image(
                    ensure_tool("crane"),
                    f"{host}/demo/api@{world.digest}",
                    f"{world.host}/stolen/api",
                    scratch=tmp_path / "scratch",
                    logins=registry.CopyLogins(pull=config),
                    timeout=20,
                )
            )
            assert isinstance(failure, SlipwayError)
    assert taken and not [each for each in taken if each.split(" ", 1)[1] or each.startswith("/token")], taken
