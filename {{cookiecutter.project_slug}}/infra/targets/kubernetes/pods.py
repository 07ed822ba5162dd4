"""The pod of a service: what its container is, what it may do, how much it may use, and how it ends."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.core.v1 import (
    AffinityArgs,
    CapabilitiesArgs,
    ConfigMapEnvSourceArgs,
    ContainerArgs,
    ContainerPortArgs,
    EmptyDirVolumeSourceArgs,
    EnvFromSourceArgs,
    LifecycleArgs,
    LifecycleHandlerArgs,
    LocalObjectReferenceArgs,
    NodeAffinityArgs,
    NodeSelectorArgs,
    NodeSelectorRequirementArgs,
    NodeSelectorTermArgs,
    PodSecurityContextArgs,
    PodSpecArgs,
    ResourceRequirementsArgs,
    SeccompProfileArgs,
    SecretVolumeSourceArgs,
    SecurityContextArgs,
    SleepActionArgs,
    TolerationArgs,
    TopologySpreadConstraintArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs
from slipway.model.workspace import Resources

from infra.targets.kubernetes.access import PULL
from infra.targets.kubernetes.files import Files
from infra.targets.kubernetes.place import Plot
from infra.targets.kubernetes.probes import Probes

SECRETS = "/run/secrets"
READERS = 65532
"""The group that secrets' files belong to, and that a pod's processes are in, whichever user the image has."""
TMP_SIZE = "1Gi"
"""How large /tmp may get where service.toml does not say it. It is a folder of the node's, so it cannot be noexec."""
MEMORY, CPUS = "256m", 1.0
"""What a service may use that says nothing about it."""
REQUESTED = 0.25
"""How much of the processors that it may use is kept free for a service. Memory is kept free whole."""
WITHDRAW_SECONDS = 5
"""How long a pod goes on serving after it was told to end, until nothing sends it requests any more."""
STOP_SECONDS = 10
"""The least that its container has to end after its stop signal; `drain` may say more."""
SPREAD = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
GPU = "nvidia.com/gpu"


def spec(mine: Plot, image: pulumi.Input[str], files: Files, login: bool, health: Probes | None) -> PodSpecArgs:
    """Return the pod of a service, as the Pod Security Standard `restricted` asks for.

    Args:
        mine: the service's place.
        image: by digest.
        files: its environment and secrets.
        login: whether there is a pull secret.
        health: its probes; None for a job, which ends by itself.
    """
    settings = mine.service.settings
    tmp_size = binary(settings.tmp.size) if settings.tmp.size else TMP_SIZE
    volumes = [VolumeArgs(name="tmp", empty_dir=EmptyDirVolumeSourceArgs(size_limit=tmp_size))]
    if files.secrets:
        volumes.append(
            VolumeArgs(name="secrets", secret=SecretVolumeSourceArgs(secret_name=files.secrets, default_mode=0o440))
        )
    return PodSpecArgs(
        service_account_name=mine.name,
        automount_service_account_token=False,
        enable_service_links=False,
        share_process_namespace=True,  # so that the pod's own first process takes in orphans, as Docker's init does
        image_pull_secrets=[LocalObjectReferenceArgs(name=PULL)] if login else None,
        restart_policy=None if health else "Never",
        termination_grace_period_seconds=max(STOP_SECONDS, settings.drain) + (WITHDRAW_SECONDS if settings.port else 0),
        security_context=PodSecurityContextArgs(
            run_as_non_root=True,
            seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
            fs_group=READERS if files.secrets else None,
        ),
        affinity=_platforms(mine.place.workspace.settings.build.platforms),
        tolerations=[TolerationArgs(key=GPU, operator="Exists")] if settings.resources.gpu else None,
        topology_spread_constraints=[_spread(mine, key) for key in SPREAD] if health else None,
        containers=[_container(mine, image, files, health)],
        volumes=volumes,
    )


def _container(mine: Plot, image: pulumi.Input[str], files: Files, health: Probes | None) -> ContainerArgs:
    port = mine.service.settings.port
    mounts = [VolumeMountArgs(name="tmp", mount_path="/tmp")]  # noqa: S108 - the container's own
    if files.secrets:
        mounts.append(VolumeMountArgs(name="secrets", mount_path=SECRETS, read_only=True))
    environment = EnvFromSourceArgs(config_map_ref=ConfigMapEnvSourceArgs(name=files.environment))
    withdrawn = LifecycleArgs(pre_stop=LifecycleHandlerArgs(sleep=SleepActionArgs(seconds=WITHDRAW_SECONDS)))
    return ContainerArgs(
        name=mine.name,
        image=image,
        ports=[ContainerPortArgs(name="http", container_port=port)] if port else None,
        env_from=[environment] if files.environment else None,
        resources=resources(mine.service.settings.resources),
        security_context=SecurityContextArgs(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=CapabilitiesArgs(drop=["ALL"]),
        ),
        volume_mounts=mounts,
        lifecycle=withdrawn if port else None,
        startup_probe=health.startup if health else None,
        readiness_probe=health.readiness if health else None,
        liveness_probe=health.liveness if health else None,
    )


def resources(wanted: Resources) -> ResourceRequirementsArgs:
    """Return limits and requests: memory is kept free whole, as it cannot be shared out; processors in part."""
    memory = binary(wanted.memory or MEMORY)
    cpus = wanted.cpus or CPUS
    gpus = {GPU: str(wanted.gpu)} if wanted.gpu else {}
    return ResourceRequirementsArgs(
        limits={"memory": memory, "cpu": millicores(cpus), **gpus},
        requests={"memory": memory, "cpu": millicores(cpus * REQUESTED), **gpus},
    )


def binary(amount: str) -> str:
    """Return an amount as Docker writes it (`256m`) as Kubernetes does (`256Mi`)."""
    return f"{amount.upper()}i".replace("KI", "Ki")


def millicores(cpus: float) -> str:
    """Return a number of processors as Kubernetes writes parts of them."""
    return f"{max(1, round(cpus * 1000))}m"


def _platforms(platforms: tuple[str, ...]) -> AffinityArgs:
    """Return that pods go to nodes that the image was built for."""
    machines = sorted({platform.split("/")[1] for platform in platforms})
    known = (("kubernetes.io/os", ["linux"]), ("kubernetes.io/arch", machines))
    term = NodeSelectorTermArgs(
        match_expressions=[NodeSelectorRequirementArgs(key=key, operator="In", values=values) for key, values in known]
    )
    return AffinityArgs(
        node_affinity=NodeAffinityArgs(
            required_during_scheduling_ignored_during_execution=NodeSelectorArgs(node_selector_terms=[term])
        )
    )


def _spread(mine: Plot, key: str) -> TopologySpreadConstraintArgs:
    """Return that pods of one rollout are spread where that is possible."""
    return TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key=key,
        when_unsatisfiable="ScheduleAnyway",
        label_selector=LabelSelectorArgs(match_labels=mine.selector),
        match_label_keys=["pod-template-hash"],
    )
