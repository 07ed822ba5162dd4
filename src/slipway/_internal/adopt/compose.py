"""Plans the adoption of a Compose file: its services, their names and routes, and who needs whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from slipway._internal.adopt import compose_keys
from slipway._internal.adopt.compose_draft import ComposeService
from slipway._internal.adopt.compose_file import ComposeFile
from slipway._internal.adopt.compose_secrets import protect_secrets
from slipway._internal.adopt.compose_service import adopt_service
from slipway._internal.adopt.names import to_label
from slipway._internal.adopt.pins import Pins
from slipway._internal.adopt.plan import Draft, Plan, Row
from slipway._internal.adopt.routes import give_routes
from slipway._internal.model.errors import ConfigError
from slipway._internal.model.names import DNS_LABEL
from slipway._internal.model.workspace import Workspace

_UNSET = re.compile(r'The "?([A-Za-z_][A-Za-z0-9_]*)"? variable is not set')
FIRST_PORT = "80"


def plan_compose(
    workspace: Workspace, compose: ComposeFile, pins: Pins, *, route: str | None, skip: frozenset[str]
) -> Plan:
    """Return the plan that makes services of those of a Compose file.

    Args:
        workspace: where they are to be.
        compose: the file, as Docker Compose reads it.
        pins: knows the digests of images.
        route: the first published service's route; None for the first free one.
        skip: services that are left out, by the file's names or the workspace's.

    Raises:
        ConfigError: the file has no service, or `skip` names one that is not there.
    """
    labels = {name: to_label(name) for name in compose.services()}
    if not labels:
        raise ConfigError(f"{compose.path} has no services", remedy="Name another file.")
    unknown = sorted(skip - {*labels} - {*labels.values()})
    if unknown:
        raise ConfigError(f"--skip names {unknown[0]!r}, which is no service", remedy=f"Services: {', '.join(labels)}.")
    plan = Plan(str(compose.path))
    _tell_top(compose, plan)
    wanted = [name for name, label in labels.items() if not {name, label} & skip]
    found = [adopt_service(workspace, compose, name, Draft(labels[name]), pins) for name in wanted]
    _check_names(found)
    _check_published(found)
    plan.rows += [
        Row(labels[name], "not carried over", compose.where("services", name), name, "left out by --skip")
        for name in labels
        if name not in wanted
    ]
    missing = [service for service in found if service.is_missing]
    plan.rows += [row for service in missing for row in service.draft.rows if row.key == "image"]
    kept = [service for service in found if not service.is_missing]
    plan.drafts = [service.draft for service in kept]
    _needs(kept, found, labels)
    _tell_shared_volumes(kept)
    give_routes(workspace, [service.draft for service in _published(kept)], route, str(compose.path))
    _rename_hosts(kept, {name: label for name, label in labels.items() if name != label})
    protect_secrets(workspace, kept)
    plan.commands = [command for service in kept for command in service.commands]
    return plan


def _tell_top(compose: ComposeFile, plan: Plan) -> None:
    for key in compose.top_keys:
        treatment = compose_keys.treatment_of(key, compose_keys.TOP_KEYS)
        if treatment.fate != "carried over":
            plan.rows.append(Row("", treatment.fate, compose.where(key), key, treatment.why, treatment.instead))
    for text in compose.warnings:
        if found := _UNSET.search(text):
            plan.rows.append(
                Row(
                    "",
                    "to do",
                    str(compose.path),
                    found[1],
                    "the variable has no value, so it was read as empty",
                    f"Write {found[1]}=… into {compose.folder / '.env'}, and adopt it again.",
                )
            )
        elif "obsolete" not in text:
            plan.rows.append(Row("", "to do", str(compose.path), "", f"Docker Compose warns: {text}"))


def _check_names(services: Sequence[ComposeService]) -> None:
    owners: dict[str, str] = {}
    for service in services:
        label = service.draft.name
        if not DNS_LABEL.fullmatch(label):
            service.tell(
                "refused", "", f"{service.name!r} cannot name a service", "Rename it: letters, digits, dashes."
            )
        elif label in owners:
            service.tell(
                "refused", "", f"{service.name} and {owners[label]} would both be {label}", "Rename one of them."
            )
        elif label != service.name:
            service.tell("kept otherwise", "", f"{service.name} is {label}: names are DNS labels")
        owners.setdefault(label, service.name)


def _check_published(services: Sequence[ComposeService]) -> None:
    """Refuse a port of the machine that two services publish: which of them a browser should reach is not told."""
    owners: dict[tuple[str, str, str], str] = {}
    for service in services:
        for number, port in enumerate(service.settings.get("ports") or ()):
            published = str(port.get("published") or "")
            key = (published, str(port.get("protocol", "tcp")), str(port.get("host_ip") or ""))
            if not published or owners.setdefault(key, service.name) == service.name:
                continue
            service.tell(
                "refused",
                "ports",
                f"the port {published} is published by {owners[key]}, too",
                "Publish another one, or leave one of the two out: --skip.",
                str(number),
            )


def _published(services: Sequence[ComposeService]) -> list[ComposeService]:
    """Return the services that browsers reach, the one on port 80 first."""

    def is_first(service: ComposeService) -> bool:
        ports = service.settings.get("ports") or ()
        return any(str(port.get("published")) == FIRST_PORT and port["target"] == service.http for port in ports)

    found = [service for service in services if service.http and not service.draft.kind]
    return sorted(found, key=lambda service: not is_first(service))


def _needs(kept: Sequence[ComposeService], found: Sequence[ComposeService], labels: Mapping[str, str]) -> None:
    by_name = {service.name: service for service in kept}
    names = {service.name for service in found}
    for service in kept:
        needs: list[str] = []
        for other, told in (service.settings.get("depends_on") or {}).items():
            label = labels.get(other, other)
            key = f"depends_on.{other}"
            if other not in by_name:
                why = "its image is not pinned" if other in names else "it is left out"
                service.tell(
                    "not carried over", key, f"{label} is not adopted ({why}): {service.draft.name} runs without it"
                )
                continue
            takes_requests = by_name[other].draft.kind or "port" in by_name[other].draft.settings
            if takes_requests and label != service.draft.name:
                needs.append(label)
                service.tell("carried over", key, f"needs {label}")
            else:
                service.tell("kept otherwise", key, f"{label} has no port: the two start at the same time")
            if (told or {}).get("condition") == "service_completed_successfully":
                service.tell(
                    "to do",
                    key,
                    f"{label} runs to its end, but a service is started again",
                    f"Give its command to {service.draft.name} as `release`, and leave it out: --skip {label}.",
                )
        if needs and not service.draft.kind:
            service.draft.settings["needs"] = needs


def _tell_shared_volumes(services: Iterable[ComposeService]) -> None:
    owners: dict[str, str] = {}
    for service in services:
        for volume in service.draft.settings.get("volumes", ()):
            owner = owners.setdefault(volume["name"], service.draft.name)
            if owner != service.draft.name:
                service.tell(
                    "to do",
                    "volumes",
                    f"{owner} and {service.draft.name} share {volume['name']}: now each has files of its own",
                    "Pass the files on by requests, or build them into both images.",
                )


def _rename_hosts(services: Iterable[ComposeService], renamed: Mapping[str, str]) -> None:
    """Call services by their new names in [env] and commands."""
    for service in services:
        settings = service.draft.settings
        for old, new in renamed.items():
            pattern = re.compile(rf"(?:^|(?<=//)|(?<=@)|(?<=[\s,=])){re.escape(old)}(?=$|[:/,\s])")
            for name, value in settings.get("env", {}).items():
                if pattern.search(value):
                    settings["env"][name] = pattern.sub(new, value)
                    service.tell("kept otherwise", f"environment.{name}", f"{old} is {new} there")
            for key in ("command", "entrypoint"):
                words = settings.get(key, [])
                changed = [pattern.sub(new, word) for word in words]
                if changed != words:
                    settings[key] = changed
                    service.tell("kept otherwise", key, f"{old} is {new} there")
