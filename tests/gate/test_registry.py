"""The registry client with real registries: TLS, logins, tags that never move, push by digest, copies with evidence."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gate import registries
from tests.gate.registries import Referrers, Running, Signer, Tokens, accounts, front

from slipway._internal.model.errors import ConfigError, EvidenceError, GateRefused, SlipwayError
from slipway._internal.model.workspace import Workspace, WorkspaceSettings
from slipway._internal.run import registry
from slipway._internal.run.registry import CopyLogins, Registry
from slipway._internal.toolchain import registry_daemon as local
from slipway._internal.toolchain.install import ensure_tool


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any login; return the folder of their Docker config, which nothing may write to."""
    config = tmp_path / "nobody"
    config.mkdir()
    (config / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    for name in ("SLIPWAY_PUSH_CONFIG", "SLIPWAY_PULL_CONFIG", "COSIGN_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return config


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Running]:
    with registries.serve(tmp_path / "real") as running:
        yield running


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A registry that speaks TLS with a certificate of the test's, and wants a login."""
    certificate = registries.certificate(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with registries.serve(tmp_path / "secured", login=True, certificate=certificate) as running:
        yield running


def workspace_of(host: str) -> Workspace:
    """A workspace whose registry that is."""
    return Workspace(Path("/nowhere"), WorkspaceSettings("demo", host), ())


@pytest.fixture
def crane() -> Path:
    return ensure_tool("crane")


def test_an_image_is_pushed_over_tls_with_a_login_and_gets_no_tag(
    secured: Running, crane: Path, tmp_path: Path, nobody: Path
) -> None:
    layout = registries.image(tmp_path / "api", "one")
    config = registries.docker_config(tmp_path / "pusher", {secured.host: "pusher"})
    with pytest.raises(SlipwayError, match="answers 401") as caught:
        registry.push_by_digest(crane, layout, f"{secured.host}/demo/api")
    assert f"docker login {secured.host}" in caught.value.remedy
    digest = registry.push_by_digest(
        crane, layout, f"{secured.host}/demo/api", environment={"DOCKER_CONFIG": str(config)}
    )
    client = Registry(secured.host, config)
    assert not client.is_plain_http
    assert client.get_manifest("demo/api", digest).digest == digest == registry.oci_digest(layout)
    assert client.list_tags("demo/api") == ()
    assert client.list_referrers("demo/api", digest) == []
    host, port = local.split_address(secured.host)
    assert local.is_responding(host, port)
    assert (nobody / "config.json").read_text() == "{}"
    assert [path.name for path in nobody.iterdir()] == ["config.json"]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    secured: Running, crane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(registries.certificate(tmp_path / "other")))
    config = registries.docker_config(tmp_path / "pusher", {secured.host: "pusher"})
    with pytest.raises(SlipwayError, match=r"certificate .* is not trusted") as caught:
        Registry(secured.host, config).list_tags("demo/api")
    assert "SSL_CERT_FILE" in caught.value.remedy
    layout = registries.image(tmp_path / "api", "one")
    pushed = registry.push_by_digest
    with pytest.raises(SlipwayError, match=r"certificate .* is not trusted"):
        pushed(crane, layout, f"{secured.host}/demo/api", environment={"DOCKER_CONFIG": str(config)})


def test_pushing_and_pulling_have_accounts_of_their_own(real: Running, crane: Path, tmp_path: Path) -> None:
    layout = registries.image(tmp_path / "api", "one")
    with front(real.host, accounts) as (host, _):
        pusher = registries.docker_config(tmp_path / "pusher", {host: "pusher"})
        puller = registries.docker_config(tmp_path / "puller", {host: "puller"})
        with pytest.raises(SlipwayError, match="was not pushed") as caught:
            registry.push_by_digest(crane, layout, f"{host}/demo/api", environment={"DOCKER_CONFIG": str(puller)})
        assert f"docker --config {puller} login {host}" in caught.value.remedy
        assert "may not write" in caught.value.detail
        digest = registry.push_by_digest(crane, layout, f"{host}/demo/api", environment={"DOCKER_CONFIG": str(pusher)})
        reads = Registry(host, puller)
        assert reads.get_manifest("demo/api", digest).digest == digest
        for refused in (
            lambda: reads.add_tag("demo/api", digest, "v1"),
            lambda: reads.delete_manifest("demo/api", digest),
        ):
            with pytest.raises(SlipwayError, match=f"the registry {host} answers 403") as caught:
                refused()
            assert "with an account that may" in caught.value.remedy
            assert "secret" not in f"{caught.value} {caught.value.detail}"
        assert reads.list_tags("demo/api") == ()
        Registry(host, pusher).add_tag("demo/api", digest, "v1")
        assert reads.resolve_digest("demo/api", "v1") == digest


def test_a_changed_byte_is_not_pushed(real: Running, crane: Path, tmp_path: Path) -> None:
    layout = registries.image(tmp_path / "api", "one", size=100)
    biggest = max((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = biggest.read_bytes()
    biggest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(GateRefused, match="has changed since it was built"):
        registry.push_by_digest(crane, layout, f"{real.host}/demo/api")
    assert Registry(real.host).list_repositories() == ()


def test_a_tag_never_moves_whoever_pushes(real: Running, crane: Path, tmp_path: Path) -> None:
    one, two = (registries.image(tmp_path / name, name) for name in ("one", "two"))
    repository = f"{real.host}/demo/api"
    first = registry.push_layout(crane, one, f"{repository}:h-1")
    assert registry.push_layout(crane, one, f"{repository}:h-1") == first
    with pytest.raises(GateRefused, match=f"is {first} in the registry"):
        registry.push_layout(crane, two, f"{repository}:h-1")
    second = registry.push_by_digest(crane, two, repository)
    client = Registry(real.host)
    with pytest.raises(GateRefused, match=f"is {first} in the registry, and was to be {second}"):
        client.add_tag("demo/api", second, "h-1")
    client.add_tag("demo/api", second, "h-2")
    client.add_tag("demo/api", second, "h-2")
    refs = [f"{repository}:{tag}" for tag in ("h-1", "h-2", "h-3")]
    assert registry.resolve_digests(refs, workspace_of(real.host)) == {
        f"{repository}:h-1": first,
        f"{repository}:h-2": second,
        f"{repository}:h-3": None,
    }
    assert sorted(client.list_tags("demo/api")) == ["h-1", "h-2"]


def test_more_tags_than_a_page_are_all_listed(real: Running, crane: Path, tmp_path: Path) -> None:
    digest = registry.push_by_digest(crane, registries.image(tmp_path / "api", "one"), f"{real.host}/demo/api")
    client = Registry(real.host)
    manifest = client.get_manifest("demo/api", digest)
    wanted = [f"v{number}" for number in range(230)]
    for tag in wanted:
        client.put_manifest("demo/api", manifest, tag)
    assert sorted(client.list_tags("demo/api")) == sorted(wanted)


@pytest.mark.parametrize("with_api", [False, True])
def test_a_copy_brings_signatures_and_attestations_along(
    real: Running, crane: Path, tmp_path: Path, secured: Running, with_api: bool
) -> None:
    signer = Signer.make(tmp_path / "signer")
    digest = registry.push_by_digest(crane, registries.image(tmp_path / "api", "one"), f"{real.host}/staging/api")
    signer.sign(f"{real.host}/staging/api@{digest}")
    proofs = {each.digest for each in Registry(real.host).list_referrers("staging/api", digest)}
    assert len(proofs) == 2
    config = registries.docker_config(tmp_path / "pusher", {secured.host: "pusher"})

    def copied(target: str, logins: CopyLogins) -> None:
        source = f"{real.host}/staging/api@{digest}"
        for _ in range(2):  # the second time there is nothing to do
            found = registry.copy_image(crane, source, target, scratch=tmp_path / "scratch", logins=logins)
            assert (found.digest, set(found.evidence)) == (digest, proofs)
        assert list((tmp_path / "scratch").iterdir()) == []
        client = Registry(registry.parse_reference(target).host, logins.push)
        assert {each.digest for each in client.list_referrers("prod/api", digest)} == proofs
        assert client.has_referrers_api("prod/api", digest) == with_api
        login = {"DOCKER_CONFIG": str(logins.push)} if logins.push else {}
        Signer(signer.folder, login).verify(f"{target}@{digest}")

    if with_api:
        with registries.serve(tmp_path / "third") as third, front(third.host, Referrers()) as (host, _):
            copied(f"{host}/prod/api", CopyLogins())
    else:
        copied(f"{secured.host}/prod/api", CopyLogins(push=config))


def test_a_copy_adds_to_what_the_target_knows_already(real: Running, crane: Path, tmp_path: Path) -> None:
    ours, theirs = Signer.make(tmp_path / "ours"), Signer.make(tmp_path / "theirs")
    layout = registries.image(tmp_path / "api", "one")
    digest = registry.push_by_digest(crane, layout, f"{real.host}/staging/api")
    registry.push_by_digest(crane, layout, f"{real.host}/prod/api")
    ours.sign(f"{real.host}/staging/api@{digest}")
    theirs.sign(f"{real.host}/prod/api@{digest}")
    registry.copy_image(
        crane, f"{real.host}/staging/api@{digest}", f"{real.host}/prod/api", scratch=tmp_path / "scratch"
    )
    assert len(Registry(real.host).list_referrers("prod/api", digest)) == 4
    for signer in (ours, theirs):
        signer.verify(f"{real.host}/prod/api@{digest}")


def test_evidence_that_is_listed_but_gone_or_another_image_s_stops_a_copy(
    real: Running, crane: Path, tmp_path: Path
) -> None:
    signer = Signer.make(tmp_path / "signer")
    repository = f"{real.host}/staging/api"
    one, two = (
        registry.push_by_digest(crane, registries.image(tmp_path / name, name), repository) for name in ("one", "two")
    )
    signer.sign(f"{repository}@{one}")
    client = Registry(real.host)
    stolen = client.get_manifest("staging/api", registry.fallback_tag(one))
    client.put_manifest("staging/api", stolen, registry.fallback_tag(two))
    with pytest.raises(EvidenceError, match=f"listed as evidence of {two}, belongs to {one}"):
        registry.copy_image(crane, f"{repository}@{two}", f"{real.host}/prod/api", scratch=tmp_path / "scratch")
    client.delete_manifest("staging/api", stolen.children[0]["digest"])
    with pytest.raises(EvidenceError, match="is not there"):
        registry.copy_image(crane, f"{repository}@{one}", f"{real.host}/prod/api", scratch=tmp_path / "scratch")


def test_a_folder_for_logins_without_a_config_is_a_mistake_in_the_configuration(
    real: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIPWAY_PULL_CONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="holds no config"):
        registry.resolve_digests([f"{real.host}/demo/api:one"], workspace_of(real.host))


def test_a_token_that_has_expired_is_fetched_anew_with_what_the_helper_gives_now(
    real: Running, crane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = registries.image(tmp_path / "api", "one")
    digest = registry.push_by_digest(crane, layout, f"{real.host}/demo/api")
    tokens = Tokens(uses=2)
    with front(real.host, tokens) as (host, _):
        helper = tmp_path / "docker-credential-short"
        words = json.dumps({"ServerURL": host, "Username": "pusher", "Secret": "push-secret"})
        helper.write_text(f"#!/bin/sh\ncat > /dev/null\necho asked >> {tmp_path}/asked\necho '{words}'\n")
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        config = tmp_path / "short"
        config.mkdir()
        (config / "config.json").write_text(json.dumps({"credHelpers": {host: "short"}}))
        before = (config / "config.json").read_bytes()
        client = Registry(host, config)
        for _ in range(9):
            assert client.resolve_digest("demo/api", digest) == digest
        assert len(tokens.given) >= 4
        assert len((tmp_path / "asked").read_text().splitlines()) >= 2
        client.add_tag("demo/api", digest, "v1")
        assert client.delete_manifest("demo/api", digest)
        assert client.find_manifest("demo/api", "v1") is None
        assert (config / "config.json").read_bytes() == before
        assert [path.name for path in config.iterdir()] == ["config.json"]
