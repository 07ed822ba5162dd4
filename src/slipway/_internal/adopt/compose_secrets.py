"""Keeps the passwords of a Compose file out of the workspace: they are secrets, and of a kind's service a new one.

A program that reads a password from its environment is started by a shell, which reads the secret's file first.
Where that cannot be, the variable NAME becomes NAME_FILE, which many images read, and the row says so.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from slipway._internal.adopt.compose_draft import ComposeService
from slipway._internal.adopt.known_images import known_image
from slipway._internal.content.service_inputs import base_argument
from slipway._internal.model.containers import SECRETS_DIR
from slipway._internal.model.environment import url_variable
from slipway._internal.model.workspace import Workspace
from slipway._internal.scaffold.service_creation import read_kind

MIN_LENGTH = 4
"""How long a password is at least, to be looked for in commands."""
SHELL = ("sh", "-c")
_READ_FILES = ("postgres", "mysql")
"""The schemes of databases whose images read NAME_FILE."""
_SHELLLESS = re.compile(r"\Ascratch\Z|distroless|chainguard")
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|(^|_)(KEY|PASS|PW)$|PRIVATE", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_PASSWORD_SETTING = re.compile(r"(?:^|[?&;\s])(?:password|passwd|pwd)=[^&;\s]", re.IGNORECASE)
"""A password in a connection string, such as `Host=db;Password=x` or `?password=x`."""
_PLAIN_VALUE = re.compile(r"(?:true|false|yes|no|on|off|[0-9]+[smhd]?)?\Z", re.IGNORECASE)
_NEVER_PLAIN = re.compile(r"(?:PASSWORD|PASSWD|(^|_)(PASS|PW))$", re.IGNORECASE)
_OPTION = re.compile(r"--?(?:requirepass|masterauth|password|passwd|token|secret)(?:=(.+))?\Z", re.IGNORECASE)
_USER_NAME, _DATABASE_NAME = re.compile(r"USER", re.IGNORECASE), re.compile(r"DB|DATABASE|NAME", re.IGNORECASE)


@dataclass
class StandIn:
    """A service of a kind in an image's place: what its clients are told of it, and what the Compose file told them.

    Attributes:
        label: the service's name.
        user: the kind's user; empty for none.
        database: the kind's database.
        secret: the kind's password, by its name.
        scheme: that of its address.
        users, databases, passwords: what the Compose file calls them.
    """

    label: str
    user: str
    database: str
    secret: str
    scheme: str
    users: set[str] = field(default_factory=set)
    databases: set[str] = field(default_factory=set)
    passwords: set[str] = field(default_factory=set)

    @property
    def url_file(self) -> str:
        """The file that holds its whole address."""
        return f"{SECRETS_DIR}/{url_variable(self.label)}"

    @property
    def password_file(self) -> str:
        """The file that holds its password, as its clients have it."""
        return f"{SECRETS_DIR}/{url_variable(self.label).removesuffix('URL')}{self.secret}"


def is_secret(name: str, text: str) -> bool:
    """Whether a variable's value may be a password, and not the path of one, a number or a switch."""
    if _PASSWORD_IN_URL.search(text) or _PASSWORD_SETTING.search(text):
        return True
    if not text or text.startswith("/") or name.endswith("_FILE") or not _SECRET_NAME.search(name):
        return False
    return bool(_NEVER_PLAIN.search(name)) or not _PLAIN_VALUE.match(text)


def protect_secrets(workspace: Workspace, services: Sequence[ComposeService]) -> None:
    """Take the passwords out of the services' settings, and give each service what it reads them by.

    Args:
        workspace: the workspace, whose kinds stand in for images.
        services: those that are adopted, with their needs and the names that they have now.
    """
    stand_ins = [found for service in services if (found := _stand_in(workspace, service))]
    passwords = {
        value for service in services for value in _passwords_of(service.settings.get("environment") or {})
    } | {password for stand_in in stand_ins for password in stand_in.passwords}
    passwords -= _plain_words(services)
    for service in services:
        _clear_commands(service, passwords)
        if not service.draft.kind:
            _protect(workspace, service, stand_ins)


def _plain_words(services: Sequence[ComposeService]) -> set[str]:
    """Return words that say nothing even where somebody has taken one as a password: names, users, databases."""
    found = {"guest", "mysql", "postgres", "rabbitmq", "redis", "root"}
    for service in services:
        found |= {service.name, service.draft.name}
        environment = service.settings.get("environment") or {}
        found |= {str(value) for name, value in environment.items() if value and not is_secret(name, str(value))}
    return found


def _stand_in(workspace: Workspace, service: ComposeService) -> StandIn | None:
    draft = service.draft
    template = str(read_kind(workspace.root, draft.kind).get("url") or "") if draft.kind else ""
    named = re.search(r"\{([A-Z][A-Z0-9_]*)\}", template)
    if named is None:
        return None
    parts = urlsplit(re.sub(r"[{}]", "", template.replace("{port}", "1")))
    found = StandIn(draft.name, parts.username or "", parts.path.strip("/"), named[1], parts.scheme)
    for name, value in (service.settings.get("environment") or {}).items():
        text = str(value or "")
        if text and is_secret(name, text):
            found.passwords.add(text)
        elif text and _USER_NAME.search(name):
            found.users.add(text)
        elif text and _DATABASE_NAME.search(name):
            found.databases.add(text)
    found.users |= {"postgres"} if found.scheme == "postgres" and not found.users else set()
    found.users |= {"guest"} if found.scheme == "amqp" and not found.users else set()
    found.passwords |= {"guest"} if found.scheme == "amqp" and not found.passwords else set()
    found.passwords |= _option_values(service.settings.get("command"))
    found.databases |= found.users if found.scheme == "postgres" and not found.databases else set()
    return found


def _passwords_of(environment: Mapping[str, Any]) -> Iterable[str]:
    for name, value in environment.items():
        text = str(value or "")
        if is_secret(name, text):
            found = _PASSWORD_IN_URL.search(text)
            yield found[1] if found else text


def _option_values(words: Any) -> set[str]:
    """Return what options such as `--requirepass VALUE` have as their values."""
    found, wanted = set(), False
    for word in words or ():
        option = _OPTION.match(str(word))
        if wanted and not option:
            found.add(str(word))
        wanted = bool(option) and not option[1] if option else False
        if option and option[1]:
            found.add(option[1])
    return found


def _protect(workspace: Workspace, service: ComposeService, stand_ins: Sequence[StandIn]) -> None:
    """Take a service's passwords out of its [env]."""
    draft = service.draft
    env: dict[str, str] = draft.settings.get("env", {})
    exports: dict[str, tuple[str, str]] = {}
    reached: set[str] = set()
    for name, text in list(env.items()):
        if found := _address_of(text, stand_ins):
            stand_in, shell = found
            exports[name] = (stand_in.url_file, shell)
        elif is_secret(name, text) and (own := _owner(text, service, stand_ins)):
            stand_in = own
            exports[name] = (own.password_file, f'"$(cat {own.password_file})"')
        elif is_secret(name, text):
            draft.settings.setdefault("secrets", []).append(name)
            file = f"{SECRETS_DIR}/{name}"
            exports[name] = (file, f'"$(cat {file})"')
            service.commands.append(
                f"cd infra && ../.venv/bin/pulumi config set --secret --stack dev {draft.name}:{name}"
            )
            continue
        else:
            _rename(service, env, name, stand_ins)
            continue
        reached.add(stand_in.label)
        needs = draft.settings.setdefault("needs", [])
        if stand_in.label not in needs:
            needs.append(stand_in.label)
    for name in exports:
        del env[name]
    if exports:
        _give_files(service, exports, env, _has_shell(workspace, service))
    _tell_unreached(service, stand_ins, reached)
    _tell_count(service, env)


def _address_of(text: str, stand_ins: Sequence[StandIn]) -> tuple[StandIn, str] | None:
    """Return whose address a text is, and the shell's word for it with the password that the service has now."""
    found = re.match(r"([a-z][a-z0-9+.-]*)://(?:[^@/\s]*@)?([a-z0-9.-]+)(?::\d+)?(/[^?\s]*)?(\?\S*)?\Z", text, re.I)
    stand_in = next((each for each in stand_ins if found and each.label == found[2]), None)
    if found is None or stand_in is None or found[1].lower() in ("http", "https", "tcp"):
        return None
    if found[4] and is_secret("", found[4]):
        return None
    path = (found[3] or "").strip("/")
    keeps_own = path and stand_in.scheme != "postgres" and path not in stand_in.databases
    rest = f'"${{u%/*}}"{shlex.quote(f"/{path}")}' if keeps_own else '"$u"'
    query = shlex.quote(found[4]) if found[4] else ""
    return stand_in, f"{shlex.quote(found[1])}://{rest}{query}"


def _owner(text: str, service: ComposeService, stand_ins: Sequence[StandIn]) -> StandIn | None:
    """Return whose password a text is; of several that share it, one that the service needs."""
    owners = [stand_in for stand_in in stand_ins if text in stand_in.passwords]
    needs = service.draft.settings.get("needs", ())
    return next((stand_in for stand_in in owners if stand_in.label in needs), owners[0] if owners else None)


def _rename(service: ComposeService, env: dict[str, str], name: str, stand_ins: Sequence[StandIn]) -> None:
    """Give a variable that names a service's user or database the kind's."""
    needs = service.draft.settings.get("needs", ())
    for stand_in in stand_ins:
        if stand_in.label not in needs:
            continue
        for pattern, old, new in (
            (_USER_NAME, stand_in.users, stand_in.user),
            (_DATABASE_NAME, stand_in.databases, stand_in.database),
        ):
            if pattern.search(name) and env[name] in old and new and env[name] != new:
                service.tell("kept otherwise", f"environment.{name}", f"{env[name]} is {new} in {stand_in.label} now")
                env[name] = new
                return


def _give_files(
    service: ComposeService, exports: Mapping[str, tuple[str, str]], env: dict[str, str], shells: bool
) -> None:
    """Have a program find its secrets: by a shell that starts it, or in files."""
    draft = service.draft
    words = _start_words(service) if shells else []
    lines = []
    for name, (file, shell) in exports.items():
        key = f"environment.{name}"
        if words:
            if "$u" in shell or "${u" in shell:
                lines.append(f"u=$(cat {file}); u=${{u#*://}}")
            lines.append(f"export {name}={shell}")
            service.tell("kept otherwise", key, f"a shell reads {file} and starts the program with it")
        else:
            env[f"{name}_FILE"] = file
            _tell_file(service, key, name, file)
    if words:
        draft.settings["entrypoint"] = [*SHELL, "; ".join([*lines, 'exec "$@"']), SHELL[0]]
        draft.settings["command"] = words
        draft.comments["entrypoint"] = "Gives the program the secrets that it reads from its environment."
    elif env:
        draft.settings["env"] = env


def _has_shell(workspace: Workspace, service: ComposeService) -> bool:
    """Whether a service's image has a shell, as far as its Dockerfile's base says."""
    if service.facts is None:
        return False
    bare = {base_argument(name) for name in workspace.settings.bases.official if not name.endswith("-build")}
    return service.facts.base_argument() not in bare and not _SHELLLESS.search(service.facts.base)


def _tell_file(service: ComposeService, key: str, name: str, file: str) -> None:
    """Say that a secret is a file: of databases it is known that they read it."""
    known = known_image(str(service.settings.get("image") or ""))
    if known and known.scheme in _READ_FILES:
        service.tell("kept otherwise", key, f"it is the file {file}, which {name}_FILE names")
        return
    service.tell(
        "not carried over",
        key,
        f"no password is in a variable: it is the file {file}",
        f"Have the program read it; {name}_FILE names it, as many images expect.",
    )


def _start_words(service: ComposeService) -> list[str]:
    """Return the program and its words where a shell can start it; nothing where that is not known."""
    draft, facts = service.draft, service.facts
    if facts is None:
        return []
    entrypoint = draft.settings.get("entrypoint")
    own = list(facts.entrypoint if entrypoint is None else entrypoint)
    command = draft.settings.get("command")
    return own + list(command if command is not None else facts.cmd if entrypoint is None else ())


def _tell_unreached(service: ComposeService, stand_ins: Sequence[StandIn], reached: set[str]) -> None:
    for stand_in in stand_ins:
        if stand_in.label in service.draft.settings.get("needs", ()) and stand_in.label not in reached:
            service.tell(
                "not carried over",
                f"depends_on.{stand_in.label}",
                f"{stand_in.label} wants a password now, and no variable of {service.draft.name} has one",
                f"Have the program read {stand_in.url_file}, the whole address, or {stand_in.password_file}.",
            )


def _tell_count(service: ComposeService, env: Mapping[str, str]) -> None:
    draft = service.draft
    if not env:
        draft.settings.pop("env", None)
    rows = [row for row in draft.rows if row.key != "environment" or row.fate != "carried over"]
    if len(rows) < len(draft.rows):
        draft.rows = rows
        if env:
            service.tell("carried over", "environment", f"{len(env)} in [env]")


def _clear_commands(service: ComposeService, passwords: Iterable[str]) -> None:
    """Drop the commands, health checks and arguments in which a password stands."""
    settings = service.draft.settings
    known = {password for password in passwords if len(password) >= MIN_LENGTH}
    for key in ("command", "entrypoint"):
        words = [str(word) for word in settings.get(key, ())]
        if any(secret in word for secret in known | _option_values(words) for word in words):
            del settings[key]
            _tell_dropped(service, key)
    check = settings.get("healthcheck", {})
    words = [str(word) for word in check.get("command", ())]
    if any(secret in word for secret in known | _option_values(words) for word in words):
        del settings["healthcheck"]
        _tell_dropped(service, "healthcheck")
    args: dict[str, str] = settings.get("args", {})
    for name in [name for name, text in args.items() if text in known or is_secret(name, text)]:
        args[name] = ""
        service.tell(
            "not carried over",
            f"build.args.{name}",
            "an argument stays in the image for all to read, so a secret must not be one",
            "RUN --mount=type=secret in the Dockerfile, and [build.secrets] in workspace.toml.",
        )


def _tell_dropped(service: ComposeService, key: str) -> None:
    service.draft.rows = [row for row in service.draft.rows if row.key != key]  # they show the words
    service.tell(
        "not carried over",
        key,
        "a password stands in it, which all who may look at the container would read",
        f"Write it without: a secret is a file in {SECRETS_DIR}, which the program or a shell can read.",
    )
