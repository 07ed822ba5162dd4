"""Certificates that are issued: asked for at the gateway that runs, kept in its store, shown by status and doctor."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.certificates import Authority, Issued
from tests.unit.fake_engine import FakeContainer, FakeEngine
from tests.unit.targets.docker.test_observation import STACK, Stage, stage

from slipway._internal.commands.envoy import GatewayOptions, Route, parse_config, render_config
from slipway._internal.commands.envoy_listener import CONFIG_DIR
from slipway._internal.commands.gateway_options import AcmeOptions
from slipway._internal.context.reporter import NullReporter
from slipway._internal.model import acme as kept
from slipway._internal.model.acme import AcmeSettings, IssuedCertificate, as_file, parse_kept
from slipway._internal.model.certificates import parse_certificate
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.stack import Stack
from slipway._internal.model.workspace import load_workspace
from slipway._internal.release import certificates
from slipway._internal.release.certificates import DockerGateway, certificate_facts, issue_at_deploy, renew_certificate
from slipway._internal.release.issue import AGAIN_REMEDY, IssueResult, NotIssued
from slipway._internal.rollout import certificate_store, envoy
from slipway._internal.targets.docker.observation import DockerTarget

__all__ = ["stage"]
HOST = "shop.example.com"
DIRECTORY = "https://acme.example.com/directory"
ISSUING = replace(STACK, acme=DIRECTORY, host=HOST)
WAITING = GatewayOptions(hosts=(HOST,), acme=AcmeOptions(8443))


class Serving(Stage):
    """A stack whose gateway has its certificates issued."""

    gateway: FakeContainer

    def put(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            self.gateway.files[f"{CONFIG_DIR}/{name}"] = (text.encode(), 0o444)

    def note(self, stack: Stack = ISSUING) -> str:
        rows = DockerTarget(load_workspace(self.root), stack).status(lambda: None)
        [found] = [row.drift for row in rows if row.service == "gateway"]
        return found


@pytest.fixture
def serving(stage: Stage, docker: FakeEngine) -> Serving:
    stage.__class__ = Serving
    assert isinstance(stage, Serving)
    stage.add_all()
    [stage.gateway] = [each for each in docker.all.values() if each.name == "many-dev-gateway"]
    stage.put(render_config([Route("service-000", "/a", "a:1")], WAITING))
    return stage


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue(HOST)


def kept_of(issued: Issued) -> IssuedCertificate:
    return IssuedCertificate(DIRECTORY, issued.chain, issued.key)


def test_the_store_is_roots_and_the_key_that_is_served_a_file_of_its_own(
    serving: Serving, issued: Issued, authority: Authority
) -> None:
    gateway = DockerGateway(serving.gateway.id, 8443)
    gateway.write_store({kept.CERTIFICATE: as_file(kept_of(issued))})
    assert serving.gateway.files[f"{certificate_store.FOLDER}/{kept.CERTIFICATE}"][1] == 0o400
    assert parse_kept(gateway.read_store(), kept.CERTIFICATE, IssuedCertificate) == kept_of(issued)
    assert not gateway.serves(kept_of(issued))
    gateway.serve(kept_of(issued))
    live = parse_config(envoy.read_live_config(serving.gateway)).options
    assert live.tls and gateway.serves(kept_of(issued))
    assert serving.gateway.files[f"/run/secrets/{live.tls.key}"] == (issued.key.encode(), 0o400)
    gateway.serve(kept_of(authority.issue(HOST)))
    assert serving.gateway.text(f"/run/secrets/{live.tls.key}") == "" and not gateway.serves(kept_of(issued))
    assert issued.key.splitlines()[1] not in str(envoy.read_live_config(serving.gateway))


def test_challenges_are_answered_beside_what_a_deploy_switched_meanwhile(serving: Serving) -> None:
    gateway, token = DockerGateway(serving.gateway.id, 8443), "t" * 43
    serving.put(render_config([Route("service-000", "/b", "b:1")], WAITING))
    gateway.answer({token: f"{token}.{'p' * 43}"})
    live = parse_config(envoy.read_live_config(serving.gateway))
    assert (live.routes[0].path, [*live.options.challenges]) == ("/b", [token])
    gateway.answer({})
    assert parse_config(envoy.read_live_config(serving.gateway)).options == WAITING


def test_what_is_asked_for_is_the_stacks_settings(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[AcmeSettings, bool]] = []

    def ensure(settings: AcmeSettings, gateway: Any, _say: Any, *, again: bool) -> IssueResult:
        asked.append((settings, again))
        raise NotIssued("refused", remedy=AGAIN_REMEDY)

    monkeypatch.setattr(certificates, "ensure_certificate", ensure)
    workspace = load_workspace(serving.root)
    stack = replace(ISSUING, acme_email="ops@example.com", acme_ca="/ca.pem")
    with pytest.raises(NotIssued) as caught:
        renew_certificate(workspace, stack, NullReporter(), again=True)
    assert "again at once: `invoke certificate renew --stack dev --again`." in caught.value.remedy
    assert asked == [(AcmeSettings(DIRECTORY, (HOST,), "ops@example.com", "/ca.pem"), True)]
    with pytest.raises(NotIssued):  # without a certificate, a deploy fails; with one, it only says so
        issue_at_deploy(workspace, stack, NullReporter())
    monkeypatch.setattr(NotIssued, "usable", True)
    issue_at_deploy(workspace, stack, NullReporter())
    assert len(asked) == 3


def test_where_nothing_can_be_issued_it_is_said(serving: Serving) -> None:
    workspace = load_workspace(serving.root)
    with pytest.raises(ConfigError, match="has no certificates issued"):
        renew_certificate(workspace, STACK, NullReporter())
    serving.put(render_config([Route("service-000", "/a", "a:1")], GatewayOptions(hosts=(HOST,))))
    with pytest.raises(ConfigError, match="was deployed without `slipway:acme`"):
        renew_certificate(workspace, ISSUING, NullReporter())
    serving.gateway.end(1)
    with pytest.raises(ConfigError, match="the gateway of dev does not run"):
        renew_certificate(workspace, ISSUING, NullReporter())
    assert certificates.served_certificate(workspace, ISSUING) is None


def test_status_and_doctor_say_when_a_certificate_ends(
    serving: Serving, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = load_workspace(serving.root)
    file = serving.root / "infra" / "Pulumi.dev.yaml"
    file.write_text(
        f"config:\n  slipway:images: inline\n  slipway:protected: false\n  slipway:host: {HOST}\n"
        f"  slipway:acme: {DIRECTORY}\n  slipway:acme-terms: agreed\n"
    )
    assert "no certificate was issued yet, it serves HTTP alone" in serving.note()
    [fact] = certificate_facts(workspace)
    assert (fact.name, fact.ok, fact.found) == (
        "certificate of dev",
        False,
        "none was issued yet: the gateway serves HTTP alone",
    )
    issued = authority.issue(HOST)
    DockerGateway(serving.gateway.id, 8443).serve(kept_of(issued))
    ends = parse_certificate(issued.chain, "x").ends
    [fact] = certificate_facts(workspace)
    assert serving.note() == "" and fact.ok and f"{HOST}, ends in 89 days, {ends:%Y-%m-%d}" == fact.found

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=61)

    monkeypatch.setattr("slipway._internal.targets.docker.observation.datetime", Later)
    monkeypatch.setattr(certificates, "datetime", Later)
    assert f"its certificate ends at {ends:%Y-%m-%d}" in serving.note() and "certificate renew" in serving.note()
    assert "have it renewed" in serving.note(replace(STACK, certificate="/a.pem", host=HOST))
    [fact] = certificate_facts(workspace)
    assert not fact.ok and "invoke certificate renew --stack dev" in fact.remedy
    served = certificates.served_certificate(workspace, ISSUING)
    assert served and certificates.describe_certificate(served, datetime.now(UTC))["due"] is False
    file.write_text("config: [1]\n")
    [fact] = certificate_facts(workspace)
    assert not fact.ok and "is not a table" in fact.found
