"""A stack on a Docker engine: a container for each service, behind the gateway."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from slipway._internal.commands.envoy import parse_config, read_maintenance, read_tls
from slipway._internal.context.parallel import run_parallel
from slipway._internal.context.reporter import Reporter
from slipway._internal.insight.run_recorder import Recorder
from slipway._internal.model.acme import renewal_time
from slipway._internal.model.certificates import parse_certificate
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.full_disk import is_disk_full
from slipway._internal.model.stack import Stack, how_to_deploy
from slipway._internal.model.workspace import Workspace
from slipway._internal.rollout import drain, gateway
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.envoy import read_live_config
from slipway._internal.run import engine
from slipway._internal.run.engine_objects import empty_network, is_data, list_objects, remove_leftovers
from slipway._internal.run.owner import DeployedObject, StateOwner, owner_of, read_state_ids, refuse_others
from slipway._internal.run.state import list_locks, local_state_folder
from slipway._internal.targets.docker import abandoned, commands, containers, logs
from slipway._internal.targets.docker.job_status import job_health, job_status
from slipway._internal.targets.docker.replica_status import WELL, replicas_status
from slipway._internal.targets.status import GATEWAY, ServiceStatus, format_age, shorten_image
from slipway._internal.targets.target import DataVolume, Redeploy

START_STEP = "container: starting"
START_PARTS = "container: getting the image", "container: starting", "container: becoming healthy"
"""The step of a container's start in the run record, and the parts that it is split into."""

FULL_VOLUME_SECONDS = 300
"""How long a service's word that its volume is full is believed."""

STRAY_GRACE_SECONDS = 10
"""How long a container that receives no requests may take to stop."""


@dataclass(frozen=True)
class DockerTarget:
    """One stack on the Docker engine."""

    workspace: Workspace
    stack: Stack

    @property
    def deployed_name(self) -> str:
        """The workspace's name in the names and labels of containers."""
        return self.workspace.deployed_name

    def owner(self) -> StateOwner:
        """Return the owner of what this folder deploys; a folder that never deployed owns nothing."""
        return owner_of(self.workspace.project, make=False)

    def own_containers(self) -> list[engine.ContainerSummary]:
        """Return the stack's containers that this folder deployed."""
        return self._filter_own(self.owner())

    def _filter_own(self, owner: StateOwner) -> list[engine.ContainerSummary]:
        verdicts = [
            (container, owner.classify(container.labels))
            for container in engine.list_containers(self.deployed_name, self.stack.name)
        ]
        known_ids = (self._known_ids() or ()) if any(verdict == "other" for _, verdict in verdicts) else ()
        return [
            container
            for container, verdict in verdicts
            if verdict in ("own", "unsaid") or (verdict == "other" and container.id in known_ids)
        ]

    def _known_ids(self) -> Collection[str] | None:
        """Return the ids in the stack's state; None if the state is not a local file."""
        return read_state_ids(self.workspace.project, self.stack.name)

    def refuse_foreign_objects(self, known_ids: Callable[[], Collection[str]]) -> None:
        owner = owner_of(self.workspace.project)
        refuse_others(owner, self.stack.name, list_objects(self.deployed_name, self.stack.name), known_ids)

    def status(self, live_images: Callable[[], Mapping[str, str] | None]) -> list[ServiceStatus]:  # noqa: ARG002
        own_containers, known_ids = (
            [_with_current_health(service) for service in self.own_containers()],
            self._known_ids(),
        )
        if not own_containers:
            return []
        rows, deploy = [], how_to_deploy(self.stack.name)
        expected = [
            *(service.name for service in self.workspace.services if service.name not in self.stack.external),
            GATEWAY,
        ]
        jobs = self._job_names()
        volumes = {
            service.name: [each.name for each in service.settings.volumes] for service in self.workspace.services
        }
        config = self._live_config(own_containers)
        notes = self._gateway_notes(config)
        canaries = [container for container in own_containers if container.is_canary]
        shares = _canary_shares(config) if canaries else {}
        for name in expected:
            serving, strays = containers.select_replicas(
                [service for service in own_containers if service.service == name], known_ids
            )
            if not serving:
                rows.append(ServiceStatus(name, "missing", "-", "-", f"not there: `{deploy}` restores it"))
            else:
                drift = self._full_volume(name, serving[0], volumes.get(name, ())) or self._drift(name, serving)
                drift = "; ".join(filter(None, (notes.get(name, ""), drift)))
                rows.append(
                    job_status(serving[0], drift)
                    if name in jobs
                    else replicas_status(serving, self._expected_replicas(name, serving), drift)
                )
            rows += [_status_row(service, f"a stray, not in the state: `{deploy}` removes it") for service in strays]
            rows += [
                self._canary_row(canary, known_ids, shares.get(name, 0))
                for canary in canaries
                if canary.service == name
            ]
        rows += [
            _status_row(service, "no such service any more")
            for service in own_containers
            if service.service not in expected
        ]
        return rows

    def _canary_row(
        self, canary: engine.ContainerSummary, known_ids: Collection[str] | None, percent: int
    ) -> ServiceStatus:
        """Return the row of a canary, which has its share where others have their drift."""
        verb, where = f"invoke canary {canary.service}", f" --stack {self.stack.name}"
        if known_ids is not None and canary.id not in known_ids:
            drift = f"a stray, not in the state: `{how_to_deploy(self.stack.name)}` removes it"
        else:
            drift = f"a canary, gets {percent} % of requests: `{verb} --promote{where}` or `--abort`"
            if canary.state != "running" or canary.health == "unhealthy":
                drift = f"a canary that does not serve, its share goes to the others: `{verb} --abort{where}` ends it"
        return replace(_status_row(canary, drift), service=canary.resource)

    def _live_config(self, own_containers: Sequence[engine.ContainerSummary]) -> dict[str, str]:
        """Return the configuration that the gateway works by; nothing where none runs."""
        running = [each for each in own_containers if each.service == GATEWAY and each.state == "running"]
        if not running:
            return {}
        with engine.docker_errors():
            return read_live_config(engine.client().containers.get(running[-1].id))

    def _gateway_notes(self, config: Mapping[str, str]) -> dict[str, str]:
        """Say what the gateway answers for, by service, the whole stack by itself; and what is wrong with its TLS."""
        if not config:
            return {}
        notes = _maintenance_notes(config, self.stack.name)
        certificate = _certificate_note(config, self.stack)
        return {**notes, GATEWAY: "; ".join(filter(None, (notes.get(GATEWAY, ""), certificate)))}

    def _full_volume(self, name: str, container: engine.ContainerSummary, volumes: Sequence[str]) -> str:
        """Say that a service's volume is full, where its log has said so in the last minutes; else nothing."""
        if not volumes or not is_disk_full("\n".join(engine.read_recent_log(container.id, FULL_VOLUME_SECONDS))):
            return ""
        names = [engine.data_volume_name(self.deployed_name, self.stack.name, name, volume) for volume in volumes]
        return f"{' or '.join(names)} is full, says its log: make room (`docker volume inspect {names[0]}`)"

    def _drift(self, name: str, serving: Sequence[engine.ContainerSummary]) -> str:
        """Return how the containers that serve a service differ from what was deployed."""
        drifts = [containers.describe_drift(container, self.stack.name) for container in serving]
        if drift := next(filter(None, drifts), ""):
            return drift if len(serving) == 1 else f"{serving[drifts.index(drift)].resource}: {drift}"
        missing = self._expected_replicas(name, serving) - len(serving)
        if missing > 0:
            return f"{missing} of its containers not there: `{how_to_deploy(self.stack.name)}` restores it"
        return self._gateway_drift(serving[0]) if name == GATEWAY else ""

    def _expected_replicas(self, name: str, serving: Sequence[engine.ContainerSummary]) -> int:
        """Return how many containers a service should have; one while `invoke dev` works on it."""
        if any(container.dev for container in serving):
            return 1
        return next((service.settings.scale.min for service in self.workspace.services if service.name == name), 1)

    def _gateway_drift(self, container: engine.ContainerSummary) -> str:
        problem = gateway.find_gateway_problem(container.id)
        return f"{problem}: `{how_to_deploy(self.stack.name)}` replaces it" if problem else ""

    def logs(self, service: str, *, follow: bool, tail: int) -> Iterator[str]:
        canaries = [each for each in self.own_containers() if each.service == service and each.is_canary]
        serving = [*self._find_replicas(service), *canaries]
        if len(serving) == 1:
            yield from engine.read_logs(serving[0].id, tail=tail, follow=follow)
        else:
            yield from logs.read_replica_logs(serving, tail=tail, follow=follow)

    def exec_command(self, service: str, command: Sequence[str]) -> int:
        return commands.exec_command(self._find_first(service), command)

    def run_command(self, service: str, command: Sequence[str]) -> int:
        return commands.run_command(self._find_first(service), command)

    def _find_first(self, service: str) -> engine.ContainerSummary:
        """Return the first container of a service that runs, else its first one."""
        serving = self._find_replicas(service)
        return next((container for container in serving if container.state == "running"), serving[0])

    def _find_replicas(self, service: str) -> list[engine.ContainerSummary]:
        """Return the containers that serve as a service, else its last one; ConfigError: there is none."""
        running = [container for container in self.own_containers() if container.service == service]
        if not running:
            raise ConfigError(
                f"{service} does not run in {self.stack.name}",
                remedy=f"Start it with `{how_to_deploy(self.stack.name)}`, or see what runs: "
                f"`invoke status --stack {self.stack.name}`.",
            )
        serving, _ = containers.select_replicas(running, self._known_ids())
        return serving or running[-1:]

    def data_volumes(self) -> list[DataVolume]:
        owner = self.owner()
        return [
            DataVolume(obj.name, obj.labels.get(engine.SERVICE_LABEL, ""))
            for obj in list_objects(self.deployed_name, self.stack.name)
            if is_data(obj) and owner.owns(obj.labels)
        ]

    def remove_data_volume(self, volume: DataVolume) -> None:
        with engine.docker_errors():
            engine.remove_volume(volume.name)

    def running_images(self) -> list[tuple[str, str]]:
        return [(container.name, container.image) for container in self.own_containers()]

    def running_digests(self) -> dict[str, str]:
        return {name: serving[0].image.partition("@")[2] for name, serving in self._serving_by_service().items()}

    def _serving_by_service(self) -> dict[str, list[engine.ContainerSummary]]:
        own_containers, known_ids = self.own_containers(), self._known_ids()
        services = {container.service for container in own_containers}
        serving = {
            name: containers.select_replicas(
                [container for container in own_containers if container.service == name], known_ids
            )[0]
            for name in services
        }
        return {name: found for name, found in serving.items() if found}

    def service_health(self, services: Collection[str]) -> dict[str, str]:
        serving = self._serving_by_service()
        jobs = self._job_names()
        return {
            name: ("not run here" if name in self.stack.external else "missing")
            if name not in serving
            else job_health(serving[name][0])
            if name in jobs
            else self._health(name, serving[name])
            for name in services
        }

    def _health(self, name: str, serving: Sequence[engine.ContainerSummary]) -> str:
        """Return the health of a service's containers: the worst, or how many there are if some are missing."""
        healths = [engine.current_health(container) for container in serving]
        bad = [health for health in healths if health not in WELL]
        expected = 1 if self.stack.single else self._expected_replicas(name, serving)
        if bad or len(serving) >= expected:
            return bad[0] if bad else healths[0]
        return f"{len(serving)} of {expected}"

    def _job_names(self) -> set[str]:
        return {service.name for service in self.workspace.services if service.settings.job}

    def drifted_services(self, live_images: Callable[[], Mapping[str, str]]) -> list[str]:  # noqa: ARG002
        return []  # the provider itself compares with what actually runs

    def record_starts(self, recorder: Recorder) -> None:
        started_services = recorder.services_with_step(START_STEP)
        for container in self.own_containers() if started_services else []:
            if container.resource in started_services:
                with suppress(SlipwayError):  # it is gone: its start stays one step in the record
                    recorder.split_step(
                        container.resource, START_STEP, START_PARTS, engine.read_container_times(container.id)
                    )

    def remove_orphans(self, known_ids: Collection[str]) -> None:
        # Containers of `invoke dev` are not in the state either, but serve until the deploy replaces them. Commands
        # that somebody runs are theirs to end.
        serving = {container.id for container in self.own_containers() if container.dev}
        running = {
            obj.id
            for obj in list_objects(self.deployed_name, self.stack.name)
            if engine.COMMAND_LABEL in obj.labels and engine.is_running(obj.id)
        }
        remove_leftovers(self.deployed_name, self.stack.name, {*known_ids, *serving, *running}, self._owns)

    def _owns(self, thing: DeployedObject) -> bool:
        return self.owner().owns(thing.labels)

    def may_adopt_existing(self) -> bool:
        return False  # remove_orphans has removed everything

    @contextmanager
    def report_progress(self, reporter: Reporter, rolling: Collection[str]) -> Iterator[None]:  # noqa: ARG002
        yield  # the provider reports progress itself

    def unfinished_rollouts(self) -> list[str]:
        """Return none: the provider waits for each container itself."""
        return []

    def remove_superseded(self, reporter: Reporter, known_ids: Callable[[], Collection[str] | None]) -> None:
        own_containers = self.own_containers()
        run_parallel(
            [container for container in own_containers if container.dev],
            lambda container: container.id,
            self._end_dev_container,
        )
        folder = local_state_folder(self.workspace.project)
        # A container that was listed before the lock was found free, and is not in the state afterwards, is a stray.
        if folder and list_locks(folder, self.workspace.name, self.stack.name):
            return
        stale = [
            container
            for container in own_containers
            if not container.dev and (folder or containers.is_stale(container))
        ]
        ids = (
            known_ids() if stale and (folder or len({container.service for container in stale}) < len(stale)) else None
        )
        for container in [] if ids is None else [container for container in stale if container.id not in ids]:
            reporter.say(f"Removing {container.name}, a stray container that is not in the state.")
            engine.remove_container(container.id, name=container.name, grace=STRAY_GRACE_SECONDS)

    def _end_dev_container(self, container: engine.ContainerSummary) -> None:
        settings = {service.name: service.settings for service in self.workspace.services}.get(container.service)
        seconds, port = (settings.drain, settings.port) if settings else (0, None)
        drain.drain_container(container.id, seconds, CancellationToken(), port=port)
        engine.remove_image(container.image)

    def wait_deleted(self, reporter: Reporter) -> None:  # noqa: ARG002 - the engine removes at once
        remove_leftovers(self.deployed_name, self.stack.name, (), self._owns)
        for obj in list_objects(self.deployed_name, self.stack.name):
            if obj.kind == "network" and self._owns(obj):
                with engine.docker_errors():
                    network = engine.client().networks.get(obj.id)
                    empty_network(
                        network, lambda inside: engine.WORKSPACE_LABEL in inside.labels and self._owns(inside)
                    )
                    network.remove()

    def remove_abandoned(self, reporter: Reporter, consent: Callable[[str], bool]) -> int:
        owner, known_ids = owner_of(self.workspace.project), self._known_ids() or ()
        objects = [obj for obj in list_objects(self.deployed_name, self.stack.name) if obj.id not in known_ids]
        return abandoned.remove_abandoned(owner, self.stack.name, objects, reporter, consent)

    def explain_failure(
        self,
        error: SlipwayError,
        failed_services: Collection[str],  # noqa: ARG002 - the provider explains the failure,
        live_images: Callable[[], Mapping[str, str]],  # noqa: ARG002 - and the old containers still serve
        redeploy: Redeploy,  # noqa: ARG002
    ) -> SlipwayError:
        return error


def _with_current_health(container: engine.ContainerSummary) -> engine.ContainerSummary:
    """Check a container again if the engine calls it unhealthy, as that may be outdated."""
    return replace(container, health=engine.current_health(container)) if container.health == "unhealthy" else container


def _canary_shares(config: Mapping[str, str]) -> dict[str, int]:
    """Return the percentage of requests that the gateway sends to the canary of each service now."""
    with suppress(ConfigError):
        return {route.service: route.canary.percent for route in parse_config(config).routes if route.canary}
    return {}


def _maintenance_notes(config: Mapping[str, str], stack: str) -> dict[str, str]:
    live = read_maintenance(config)
    if live is None:
        return {}
    end = f"in maintenance: `invoke maintenance off --stack {stack}"
    return {name: f"{end} --service {name}` ends it" for name in live.services} or {GATEWAY: f"{end}` ends it"}


def _certificate_note(config: Mapping[str, str], stack: Stack) -> str:
    """Say that a gateway's certificate should have been renewed, or that none was issued yet; empty: all is well."""
    renew = f"`invoke certificate renew --stack {stack.name}`"
    if (tls := read_tls(config)) is None:
        return f"no certificate was issued yet, it serves HTTP alone: {renew} says why" if stack.acme else ""
    with suppress(ConfigError):  # it cannot be read, and Envoy serves it: another version of Slipway wrote it
        certificate = parse_certificate(tls.certificate, "the certificate")
        if datetime.now(UTC) >= renewal_time(certificate):
            remedy = renew if stack.acme else "have it renewed"
            return f"its certificate ends at {certificate.ends:%Y-%m-%d %H:%M} UTC: {remedy}"
    return ""


def _status_row(container: engine.ContainerSummary, drift: str) -> ServiceStatus:
    return ServiceStatus(
        container.service,
        container.health or container.state,
        shorten_image(container.image),
        format_age(container.created),
        drift,
    )
