"""The one door to a Kubernetes cluster apart from Pulumi: kubectl, so that every way to log in works."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from slipway.commands import kubectl
from slipway.commands.kubectl import Where
from slipway.model.errors import ConfigError, SlipwayError
from slipway.model.parsing import Unreadable, parse_json
from slipway.model.stack import Stack, namespace_of
from slipway.model.workspace import Workspace
from slipway.run.objects import Event, Object, Objects
from slipway.run.process import run, stream

SECONDS = 60.0
"""How long a kubectl that does not follow a log may take, logging in included."""
T = TypeVar("T")


class Forbidden(SlipwayError):
    """The cluster knows the user, who may not do this."""


@dataclass(frozen=True)
class Cluster:
    """A stack's cluster and its namespace there. `program` is kubectl; `stack` names the settings in errors."""

    program: Path
    where: Where
    stack: Stack

    def objects(self, kinds: Sequence[str], labels: str) -> list[Object]:
        """Return the objects of some kinds that have the labels; none where the namespace is not there.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        return list(self._read(kubectl.get(self.program, self.where, kinds, labels), Objects, Objects()).items)

    def find(self, kind: str, name: str, into: type[T]) -> T | None:
        """Return an object by name; None where it is not there.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        return self._read(kubectl.find(self.program, self.where, kind, name), into, None)

    def events(self, kind: str, name: str) -> list[Event]:
        """Return what happened to an object, the newest last.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        found = self._read(kubectl.events(self.program, self.where, kind, name), Objects, Objects()).items
        return sorted((each for each in found if isinstance(each, Event)), key=lambda event: event.when)

    def logs(self, labels: str, container: str, *, tail: int, most: int) -> list[str]:
        """Return the last lines of all pods that have the labels, `most` at the same time, each with its pod's name.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        said = self._said(kubectl.logs(self.program, self.where, labels, container, tail=tail, most=most))
        return said.splitlines()

    def pod_logs(
        self, pod: str, container: str, *, tail: int, previous: bool = False, prefix: bool = False
    ) -> list[str]:
        """Return a pod's last lines; `previous`: of the run of its container before this one.

        Raises:
            SlipwayError: it has none, or the cluster cannot be asked.
        """
        return self._said(
            kubectl.pod_logs(self.program, self.where, pod, container, tail=tail, previous=previous, prefix=prefix)
        ).splitlines()

    def follow(self, pod: str, container: str, *, tail: int, since: datetime | None = None) -> Iterator[str]:
        """Yield a pod's lines as they come, each with the pod's name, until its container ends or it is gone."""
        yield from stream(kubectl.follow(self.program, self.where, pod, container, tail=tail, since=since))

    def _read(self, argv: list[str], into: type[T], nothing: T | None) -> T:
        said = self._said(argv)
        if not said.strip():
            return nothing  # type: ignore[return-value]
        return self.decoded(said, into, argv)

    def decoded(self, said: str, into: type[T], argv: Sequence[str]) -> T:
        """Return kubectl's answer to a command as an `into`; SlipwayError where it is none."""
        try:
            return parse_json(said, into)
        except Unreadable as error:
            raise SlipwayError(
                f"kubectl said something about {self.where.namespace} that cannot be read: {error}",
                remedy=f"Look for what is wrong with it: {' '.join(argv)}",
            ) from error

    def _said(self, argv: list[str]) -> str:
        if self.where.kubeconfig and not Path(self.where.kubeconfig).is_file():
            raise ConfigError(
                f"{self.stack.file}: slipway:kubeconfig is {self.where.kubeconfig}, which is not there",
                remedy="Put the cluster's kubeconfig there, or correct the setting.",
            )
        named = os.environ.get("KUBECONFIG") if not self.where.kubeconfig else None
        if named and not any(Path(each).is_file() for each in named.split(os.pathsep)):
            raise ConfigError(
                f"KUBECONFIG is {named}, and no such file is there",
                remedy=f"Correct or unset it, or set slipway:kubeconfig in {self.stack.file}.",
            )
        result = run(argv, timeout=SECONDS, apart=True)
        if result.code:
            raise explained(result.errors or result.output, self.where, self.stack)
        return result.output


def cluster_of(workspace: Workspace, stack: Stack) -> Cluster:
    """Return the door to a stack's cluster; nothing is asked yet.

    Raises:
        ConfigError: the stack's name gives no namespace.
        SlipwayError: there is no kubectl.
    """
    where = Where(namespace_of(workspace.deployed_name, stack), stack.kubeconfig, stack.context)
    return Cluster(program(workspace), where, stack)


def program(workspace: Workspace) -> Path:
    """Return kubectl: the one that `invoke setup` has put into the workspace, else the one on PATH.

    Raises:
        SlipwayError: there is none.
    """
    own = workspace.scratch / "bin" / "kubectl"
    found = str(own) if own.is_file() else shutil.which("kubectl")
    if not found:
        raise SlipwayError(
            "kubectl is missing, which a stack on Kubernetes is looked at with",
            remedy="Run `invoke setup`, or put kubectl on PATH.",
        )
    return Path(found)


def explained(said: str, where: Where, stack: Stack) -> SlipwayError:
    """Return what kubectl's words on its failure mean, and what to do about it."""
    lines = [line for line in said.splitlines() if line.strip() and not _NOISE.match(line)]
    for pattern, kind, what, remedy in _MEANINGS:
        if found := pattern.search(said):
            names = {
                "name": next(filter(None, found.groups()), ""),
                "stack": stack.name,
                "namespace": where.namespace,
                "settings": f"slipway:kubeconfig and slipway:context in {stack.file}",
            }
            detail = lines[-1] if lines else said.strip()
            return kind(what.format(**names), remedy=remedy.format(**names), detail=detail)
    return SlipwayError(
        f"kubectl could not do it in {where.namespace}",
        remedy="Mend what the lines above say and run it again.",
        detail="\n".join(lines[-12:]),
    )


_NOISE = re.compile(r"Warning: |[EIW]\d{4} ")
_MEANINGS: tuple[tuple[re.Pattern[str], type[SlipwayError], str, str], ...] = (
    (
        re.compile(r'context "([^"]*)" does not exist|no context exists with the name: "([^"]*)"'),
        ConfigError,
        "the kubeconfig of `{stack}` has no context `{name}`",
        "`kubectl config get-contexts` lists those that there are; see {settings}.",
    ),
    (
        re.compile(r"localhost:8080"),
        ConfigError,
        "no kubeconfig says where the cluster of `{stack}` is",
        "Log in to the cluster, so that ~/.kube/config or KUBECONFIG names it, or set {settings}. "
        "Without a cluster, `sudo invoke cluster up` starts one on this machine.",
    ),
    (
        re.compile(r"error loading config file|invalid configuration"),
        ConfigError,
        "the kubeconfig of `{stack}` is damaged",
        "Log in to the cluster again, or see {settings}.",
    ),
    (
        re.compile(r"\(Forbidden\)| is forbidden"),
        Forbidden,
        "the cluster of `{stack}` forbids it in the namespace {namespace}",
        "Ask whoever runs the cluster for that permission (a Role and a RoleBinding), or log in as somebody else.",
    ),
    (
        re.compile(r"Unauthorized|must be logged in|provide credentials"),
        SlipwayError,
        "the cluster of `{stack}` does not know who you are",
        "Log in to the cluster again.",
    ),
    (
        re.compile(r'exec: executable (\S+) not found|exec: "([^"]+)": executable file not found'),
        SlipwayError,
        "logging in to the cluster of `{stack}` needs `{name}`, which is missing",
        "Install it: the kubeconfig names it as the way to log in.",
    ),
    (
        re.compile(r"getting credentials: exec: executable (\S+) failed"),
        SlipwayError,
        "logging in to the cluster of `{stack}` failed: `{name}` says no",
        "Log in again, in the way that the cluster's vendor says.",
    ),
    (
        re.compile(r"x509: "),
        SlipwayError,
        "the cluster of `{stack}` shows a certificate that is not trusted",
        "The kubeconfig has to hold the cluster's present CA: log in again, or see {settings}.",
    ),
    (
        re.compile(
            r"Unable to connect to the server|The connection to the server|no such host|i/o timeout|no route to host|"
            r"deadline exceeded|Client\.Timeout|TLS handshake timeout|connection refused"
        ),
        SlipwayError,
        "the cluster of `{stack}` does not answer",
        "See that it runs and that this machine reaches it (`kubectl cluster-info`); which one it is say {settings}.",
    ),
)
"""What kubectl says when it cannot do something: words, whose fault it is, what that means, what to do."""
