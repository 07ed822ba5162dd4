"""A stack's objects on a cluster at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway._internal.run.kubernetes_objects import CronJob, Deployment, Job, Pod, PodSpec
from slipway._internal.targets.kubernetes import pod_status
from slipway._internal.targets.kubernetes.pod_status import PodProblem


@dataclass(frozen=True)
class ClusterSnapshot:
    """A stack's objects, by service.

    `deployments` has the StatefulSets, too, which `stateful` names: they are observed alike.
    """

    deployments: dict[str, Deployment] = field(default_factory=dict)
    stateful: set[str] = field(default_factory=set)
    cron_jobs: dict[str, CronJob] = field(default_factory=dict)
    job_runs: dict[str, list[Job]] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)

    def find_problem(self, service: str) -> PodProblem | None:
        return pod_status.find_deployment_problem(self.deployments[service], self.pods.get(service, []))


def image_of(service: str, spec: PodSpec) -> str:
    """Return the image of the container named after the service, or else of the first container."""
    images = {container.name: container.image for container in reversed(spec.containers)}
    return images.get(service) or next(reversed(images.values()), "")
