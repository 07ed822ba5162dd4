"""A service's pod: its container, permissions, resource limits, and shutdown."""

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
    PersistentVolumeClaimVolumeSourceArgs,
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

from slipway._internal.model.containers import SECRETS_DIR, SecuritySettings
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.parsing import is_number
from slipway._internal.model.workspace import ResourceLimits, Service
from slipway._internal.targets.kubernetes.access import PULL_SECRET
from slipway._internal.targets.kubernetes.config import ServiceConfig
from slipway._internal.targets.kubernetes.context import ServiceContext
from slipway._internal.targets.kubernetes.probes import Probes

SECRETS_GID = 65532
"""The group of secret files and of a pod's processes, whichever user the image has."""
DEFAULT_TMP_SIZE = "1Gi"
"""The default size limit of /tmp. It is a folder on the node, so it cannot be noexec."""
DEFAULT_MEMORY, DEFAULT_CPUS = "256m", 1.0
"""The default resource limits of a service."""
CPU_REQUEST_SHARE = 0.25
"""The share of its CPU limit that a service requests. Memory is requested in full."""
WITHDRAW_SECONDS = 5
"""How long a terminating pod keeps serving, until it receives no more requests."""
MIN_STOP_SECONDS = 10
"""The minimum time that a container has to stop after its stop signal; `drain` may extend it."""
SPREAD_KEYS = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
GPU_RESOURCE = "nvidia.com/gpu"


def pod_spec(
    ctx: ServiceContext, image: pulumi.Input[str], config: ServiceConfig, has_pull_secret: bool, probes: Probes | None
) -> PodSpecArgs:
    """Return a service's pod spec, as the Pod Security Standard `restricted` requires.

    Args:
        ctx: the service's context.
        image: the image by digest.
        config: its environment and secrets.
        has_pull_secret: whether there is a pull secret.
        probes: its probes; None for a job, which ends by itself.
    """
    settings = ctx.service.settings
    tmp_size = kubernetes_quantity(settings.tmp.size) if settings.tmp.size else DEFAULT_TMP_SIZE
    refuse_lifted_restrictions(ctx.service)
    volumes = [
        VolumeArgs(name="tmp", empty_dir=EmptyDirVolumeSourceArgs(size_limit=tmp_size)),
        *(
            VolumeArgs(
                name=f"data-{volume.name}",
                persistent_volume_claim=PersistentVolumeClaimVolumeSourceArgs(
                    claim_name=claim_name(ctx.name, volume.name)
                ),
            )
            for volume in settings.volumes
        ),
    ]
    if config.secrets:
        volumes.append(
            VolumeArgs(name="secrets", secret=SecretVolumeSourceArgs(secret_name=config.secrets, default_mode=0o440))
        )
    return PodSpecArgs(
        service_account_name=ctx.name,
        automount_service_account_token=False,
        enable_service_links=False,
        share_process_namespace=True,  # the pod's first process then reaps orphans, as Docker's init does
        image_pull_secrets=[LocalObjectReferenceArgs(name=PULL_SECRET)] if has_pull_secret else None,
        restart_policy=None if probes else "Never",
        termination_grace_period_seconds=max(MIN_STOP_SECONDS, settings.drain)
        + (WITHDRAW_SECONDS if settings.port else 0),
        security_context=PodSecurityContextArgs(
            run_as_non_root=True,
            seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
            run_as_user=_numeric_user(settings.security),
            fs_group=SECRETS_GID if config.secrets or settings.volumes else None,
        ),
        affinity=_platform_affinity(ctx.stack_ctx.workspace.settings.build.platforms),
        tolerations=[TolerationArgs(key=GPU_RESOURCE, operator="Exists")] if settings.resources.gpu else None,
        topology_spread_constraints=[_spread_constraint(ctx, key) for key in SPREAD_KEYS] if probes else None,
        containers=[_container(ctx, image, config, probes)],
        volumes=volumes,
    )


def _container(
    ctx: ServiceContext, image: pulumi.Input[str], config: ServiceConfig, probes: Probes | None
) -> ContainerArgs:
    port = ctx.service.settings.port
    settings = ctx.service.settings
    mounts = [
        VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 - the container's own
        *(VolumeMountArgs(name=f"data-{volume.name}", mount_path=volume.path) for volume in settings.volumes),
    ]
    if config.secrets:
        mounts.append(VolumeMountArgs(name="secrets", mount_path=SECRETS_DIR, read_only=True))
    environment = EnvFromSourceArgs(config_map_ref=ConfigMapEnvSourceArgs(name=config.environment))
    lifecycle = LifecycleArgs(pre_stop=LifecycleHandlerArgs(sleep=SleepActionArgs(seconds=WITHDRAW_SECONDS)))
    return ContainerArgs(
        name=ctx.name,
        image=image,
        command=list(settings.entrypoint) or None,
        args=list(settings.command) or None,
        ports=[ContainerPortArgs(name="http", container_port=port)] if port else None,
        env_from=[environment] if config.environment else None,
        resources=resource_requirements(ctx.service.settings.resources),
        security_context=SecurityContextArgs(
            allow_privilege_escalation=False,
            read_only_root_filesystem=settings.security.read_only,
            capabilities=CapabilitiesArgs(drop=["ALL"], add=list(settings.security.capabilities) or None),
        ),
        volume_mounts=mounts,
        lifecycle=lifecycle if port else None,
        startup_probe=probes.startup if probes else None,
        readiness_probe=probes.readiness if probes else None,
        liveness_probe=probes.liveness if probes else None,
    )


def claim_name(service: str, volume: str) -> str:
    """Return the name of the claim that a service's data is kept on; the dot keeps it apart from other services'."""
    return f"{service}.{volume}"


def refuse_lifted_restrictions(service: Service) -> None:
    """Raise ConfigError for what the Pod Security Standard `restricted`, which the namespace enforces, does not allow.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    security = service.settings.security
    forbidden = sorted({*security.capabilities} - {"NET_BIND_SERVICE"})
    is_root = (security.user or "").partition(":")[0] in ("0", "root")
    if forbidden or is_root:
        what = f"the capability {forbidden[0]}" if forbidden else f"the user {security.user}"
        raise ConfigError(
            f"{service.folder / 'service.toml'}: [security] gives {service.name} {what}, which a namespace with the "
            "Pod Security Standard `restricted` refuses",
            remedy="Use an image that runs without root and capabilities, such as one that you build; or run the "
            "service elsewhere: slipway:external in the stack's file.",
        )


def _numeric_user(security: SecuritySettings) -> int | None:
    name = (security.user or "").partition(":")[0]
    return int(name) if is_number(name) else None


def resource_requirements(settings: ResourceLimits) -> ResourceRequirementsArgs:
    """Return limits and requests: memory in full, as it cannot be shared; CPU in part."""
    memory = kubernetes_quantity(settings.memory or DEFAULT_MEMORY)
    cpus = settings.cpus or DEFAULT_CPUS
    gpus = {GPU_RESOURCE: str(settings.gpu)} if settings.gpu else {}
    return ResourceRequirementsArgs(
        limits={"memory": memory, "cpu": millicores(cpus), **gpus},
        requests={"memory": memory, "cpu": millicores(cpus * CPU_REQUEST_SHARE), **gpus},
    )


def kubernetes_quantity(amount: str) -> str:
    """Convert an amount from Docker's notation (`256m`) to Kubernetes' (`256Mi`)."""
    return f"{amount.upper()}i".replace("KI", "Ki")


def millicores(cpus: float) -> str:
    """Return a number of processors in millicores."""
    return f"{max(1, round(cpus * 1000))}m"


def _platform_affinity(platforms: tuple[str, ...]) -> AffinityArgs:
    """Return an affinity for nodes of the platforms that the image was built for."""
    architectures = sorted({platform.split("/")[1] for platform in platforms})
    requirements = (("kubernetes.io/os", ["linux"]), ("kubernetes.io/arch", architectures))
    term = NodeSelectorTermArgs(
        match_expressions=[
            NodeSelectorRequirementArgs(key=key, operator="In", values=values) for key, values in requirements
        ]
    )
    return AffinityArgs(
        node_affinity=NodeAffinityArgs(
            required_during_scheduling_ignored_during_execution=NodeSelectorArgs(node_selector_terms=[term])
        )
    )


def _spread_constraint(ctx: ServiceContext, key: str) -> TopologySpreadConstraintArgs:
    """Return a constraint that spreads the pods of one rollout if possible."""
    return TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key=key,
        when_unsatisfiable="ScheduleAnyway",
        label_selector=LabelSelectorArgs(match_labels=ctx.selector),
        match_label_keys=["pod-template-hash"],
    )
