"""The rule of privileges: a container stays a process among others, whoever breaks into it."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.policy import Props, Resource, Violation, child_mapping, containers, pod_spec

HOST_NAMESPACES = {"hostNetwork": "network", "hostPID": "processes", "hostIPC": "shared memory"}


def check_privileges(resource: Resource) -> Iterator[Violation]:
    """Refuse a pod that shares its node's network, processes, memory or files, and a container with further rights.

    Slipway's own provider gives a container none of these, and has no key for them.
    """
    spec = pod_spec(resource)
    if spec is None:
        return
    for key, what in HOST_NAMESPACES.items():
        if spec.get(key):
            yield _violation(resource, f"shares the {what} of its node", f"`{key}`")
    for volume in spec.get("volumes") or ():
        if volume.get("hostPath") is not None:
            named = f"the volume `{volume.get('name')}`"
            yield _violation(resource, f"reaches into its node's files with {named}", f"`hostPath` of {named}")
    for container in containers(resource):
        yield from _check_container(resource, container, child_mapping(spec, "securityContext"))


def _check_container(resource: Resource, container: Props, pod_context: Props) -> Iterator[Violation]:
    name = f"in its container {container.get('name')}"
    context = child_mapping(container, "securityContext")
    if context.get("privileged"):
        yield _violation(resource, f"is privileged {name}", "`securityContext.privileged`")
    if context.get("allowPrivilegeEscalation") is not False:
        key = "`securityContext.allowPrivilegeEscalation`"
        yield _violation(resource, f"can gain privileges {name}", key, "Set {} to false")
    if added := child_mapping(context, "capabilities").get("add"):
        key = "`securityContext.capabilities.add`"
        yield _violation(resource, f"has the capabilities {', '.join(map(str, added))} added {name}", key)
    user = context.get("runAsUser", pod_context.get("runAsUser"))
    if user == 0 or not context.get("runAsNonRoot", pod_context.get("runAsNonRoot")):
        key = "`securityContext.runAsNonRoot`"
        yield _violation(resource, f"may run as root {name}", key, "Set {} to true, and `runAsUser` to no 0,")


def _violation(resource: Resource, what: str, key: str, remedy: str = "Take out {}") -> Violation:
    return Violation(f"{resource.name} {what}", f"{remedy.format(key)} where infra/ declares `{resource.name}`.")
