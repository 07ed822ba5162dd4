"""The certificate of a stack's gateway on a Docker engine: issued by ACME at a deploy or by a verb, and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from slipway._internal.commands.envoy import read_tls
from slipway._internal.context.reporter import Reporter
from slipway._internal.model import stack as stacks
from slipway._internal.model.acme import AcmeSettings, IssuedCertificate, renewal_time
from slipway._internal.model.certificates import Certificate, parse_certificate
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.hosts import ANY_HOST, by_host
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.stack_hosts import check_hosts
from slipway._internal.model.workspace import Workspace
from slipway._internal.release.issue import AGAIN_REMEDY, IssueResult, NotIssued, ensure_certificate
from slipway._internal.rollout import certificate_store
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.live_gateway import LiveGateway
from slipway._internal.run import engine
from slipway._internal.targets.docker.observation import DockerTarget
from slipway._internal.targets.status import GATEWAY
from slipway._internal.toolchain.doctor import CheckResult
from slipway._internal.toolchain.locking import file_lock


@dataclass(frozen=True)
class DockerGateway:
    """A gateway's container: an `IssuingGateway`. Its configuration is read anew each time, as a deploy may switch it.

    Attributes:
        container_id: the container's id.
        port: the port that callers find TLS at.
    """

    container_id: str
    port: int

    def read_store(self) -> Mapping[str, str]:
        """Return the files of its store."""
        return certificate_store.read_store(engine.client().containers.get(self.container_id))

    def write_store(self, files: Mapping[str, str]) -> None:
        """Write files of its store."""
        certificate_store.write_store(engine.client().containers.get(self.container_id), files)

    def answer(self, challenges: Mapping[str, str]) -> None:
        """Answer challenges, and no others."""
        LiveGateway.in_container(self.container_id).switch_challenges(challenges, CancellationToken())

    def serve(self, issued: IssuedCertificate) -> None:
        """Serve a certificate."""
        tls = certificate_store.tls_of(issued, self.port)
        LiveGateway.in_container(self.container_id).switch_certificate(tls, issued.key, CancellationToken())

    def serves(self, issued: IssuedCertificate) -> bool:
        """Whether it serves that certificate."""
        live = LiveGateway.in_container(self.container_id).config.options.tls
        return live == certificate_store.tls_of(issued, self.port)


def acme_settings(workspace: Workspace, stack: Stack) -> AcmeSettings:
    """Return what a stack's settings ask an authority for.

    Raises:
        ConfigError: the stack has no certificates issued, or hosts that this cannot be done for.
    """
    if not stack.acme:
        raise ConfigError(
            f"{stack.file}: the gateway of {stack.name} has no certificates issued",
            remedy="`slipway:acme: letsencrypt` with `slipway:acme-terms: agreed` has it do so.",
        )
    services = [service for service in workspace.services if service.name not in stack.external]
    check_hosts(services, stack)
    routes = [route for service in services for route in service.routes]
    hosts = by_host(routes, lambda route: route.host, stacks.hosts_of_stack(stack))
    named = tuple(host for host in hosts if host != ANY_HOST)
    return AcmeSettings(stack.acme, named, stack.acme_email or "", stack.acme_ca or "")


def issue_at_deploy(workspace: Workspace, stack: Stack, reporter: Reporter) -> None:
    """Have the certificate issued that a stack's gateway needs; without one, it serves HTTP alone.

    Raises:
        NotIssued: there is none, and no earlier one that serves all hosts.
    """
    try:
        renew_certificate(workspace, stack, reporter)
    except NotIssued as error:
        if not error.usable:
            error.detail = "The deploy itself is done. Services are served by HTTP alone until there is a certificate."
            raise
        reporter.say(f"The certificate of {stack.name} is not renewed, and served on: {error.message}. {error.remedy}")


def renew_certificate(workspace: Workspace, stack: Stack, reporter: Reporter, *, again: bool = False) -> IssueResult:
    """Have a certificate issued if one is due, and return the one that is served then.

    Args:
        workspace: the workspace.
        stack: the stack, whose gateway runs.
        reporter: told what is done.
        again: ask although a failure is not long ago.

    Raises:
        ConfigError: the gateway does not run, or was deployed without these settings.
        NotIssued: the authority did not issue it; what is served stays.
    """
    settings = acme_settings(workspace, stack)
    lock = workspace.scratch / "run" / f"certificate-{stack.name}.lock"
    wait = "Another command renews it: waiting for its end."
    with file_lock(lock, lambda: reporter.say(wait)), engine.docker_errors():
        gateway_id = find_gateway(workspace, stack)
        if gateway_id is None:
            raise ConfigError(
                f"the gateway of {stack.name} does not run", remedy=f"`{how_to_deploy(stack.name)}` starts it."
            )
        if LiveGateway.in_container(gateway_id).config.options.acme is None:
            raise ConfigError(
                f"the gateway of {stack.name} was deployed without `slipway:acme`",
                remedy=f"`{how_to_deploy(stack.name)}`, which has the certificate issued, too.",
            )
        gateway = DockerGateway(gateway_id, stacks.tls_port_of(workspace, stack))
        try:
            return ensure_certificate(settings, gateway, reporter.say, again=again)
        except NotIssued as error:
            if error.remedy == AGAIN_REMEDY:
                error.remedy = f"{AGAIN_REMEDY[:-1]}: `invoke certificate renew --stack {stack.name} --again`."
            raise


def served_certificate(workspace: Workspace, stack: Stack) -> Certificate | None:
    """Return the certificate that a stack's gateway serves; None where none runs, or it speaks no TLS."""
    from slipway._internal.rollout.envoy import read_live_config

    with engine.docker_errors():
        gateway_id = find_gateway(workspace, stack)
        if gateway_id is None:
            return None
        tls = read_tls(read_live_config(engine.client().containers.get(gateway_id)))
    return parse_certificate(tls.certificate, f"the certificate of {stack.name}") if tls else None


def find_gateway(workspace: Workspace, stack: Stack) -> str | None:
    """Return the id of the container of the gateway, which this folder has deployed; None where it does not run."""
    own = [container for container in DockerTarget(workspace, stack).own_containers() if container.service == GATEWAY]
    return own[-1].id if own and own[-1].state == "running" else None


def describe_certificate(certificate: Certificate, now: datetime) -> dict[str, object]:
    """Return what there is to say of a certificate, for JSON: times in RFC 3339, UTC."""
    return {
        "hosts": list(certificate.names),
        "begins": certificate.begins.isoformat(),
        "renewal": renewal_time(certificate).isoformat(),
        "ends": certificate.ends.isoformat(),
        "due": now >= renewal_time(certificate),
    }


def certificate_facts(workspace: Workspace) -> Iterator[CheckResult]:
    """Say of each stack on a Docker engine when the certificate ends that its gateway serves."""
    for name in stacks.names(workspace.root):
        try:
            stack = stacks.load(workspace.root, name, {})
            if stack.target == "docker" and stacks.speaks_tls(stack):
                yield from _facts(workspace, stack)
        except SlipwayError as error:
            yield CheckResult(f"certificate of {name}", False, error.message, error.remedy)


def _facts(workspace: Workspace, stack: Stack) -> Iterator[CheckResult]:
    what = f"certificate of {stack.name}"
    if find_gateway(workspace, stack) is None:
        return
    certificate = served_certificate(workspace, stack)
    if certificate is None:
        remedy = f"`invoke certificate renew --stack {stack.name}` says why."
        yield CheckResult(what, False, "none was issued yet: the gateway serves HTTP alone", remedy)
        return
    left = certificate.ends - datetime.now(UTC)
    found = f"{', '.join(certificate.names)}, ends in {max(left, timedelta()).days} days, {certificate.ends:%Y-%m-%d}"
    due = datetime.now(UTC) >= renewal_time(certificate)
    remedy = (
        f"Have `invoke certificate renew --stack {stack.name}` run every night."
        if stack.acme
        else f"Have it renewed, and `{how_to_deploy(stack.name)}`."
    )
    yield CheckResult(what, not due, found, remedy if due else "")
