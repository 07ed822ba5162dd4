"""`slipway:docker:Job`: a job's container, in which a runner starts its program at its times."""

from __future__ import annotations

from slipway._internal.model.schedule import schedule_problem
from slipway._internal.provider.container import ContainerHandler, refuse_copied_container
from slipway._internal.provider.handler import ActualState, ResourceState
from slipway._internal.provider.values import UNKNOWN, Props
from slipway._internal.rollout.cancellation import CancellationToken
from slipway._internal.rollout.container import ContainerSpec, new_container_name
from slipway._internal.rollout.job import create_job_container, end_job, job_volume
from slipway._internal.rollout.ownership import refuse_foreign_objects


class JobHandler(ContainerHandler):
    """A container whose runner runs. It is replaced as other containers are; a run that is under way may end first."""

    required = (*ContainerHandler.required, "schedule")
    optional = tuple(key for key in ContainerHandler.optional if key not in ("port", "group", "healthTimeout"))

    def validate_inputs(self, inputs: Props) -> list[tuple[str, str]]:
        problems = super().validate_inputs(inputs)
        if inputs["schedule"] != UNKNOWN and (problem := schedule_problem(str(inputs["schedule"]))):
            problems.append(("schedule", problem))
        return problems

    def create(self, urn: str, inputs: Props, cancellation: CancellationToken) -> ActualState:
        spec = ContainerSpec.from_inputs({key: value for key, value in inputs.items() if key != "schedule"})
        refuse_foreign_objects(spec.workspace, spec.stack, urn)
        container = create_job_container(spec, inputs["schedule"], new_container_name(spec), urn, cancellation)
        identity = {"containerName": container.name, "containerId": container.id, "imageId": container.attrs["Image"]}
        return ActualState(container.id, {**self.public_inputs(inputs), **identity})

    def delete(self, old: ResourceState, cancellation: CancellationToken) -> None:
        refuse_copied_container(old)
        names = [str(old.inputs.get(key, "")) for key in ("workspace", "stack", "service")]
        end_job(
            old.id,
            old.inputs.get("drainSeconds", ContainerSpec.drainSeconds),
            cancellation,
            name=old.outputs.get("containerName", ""),
            volume=job_volume(*names),
        )
