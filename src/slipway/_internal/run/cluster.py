"""The client for a Kubernetes cluster: kubectl, so that every way to log in works."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from slipway._internal.commands import kubectl
from slipway._internal.commands.kubectl import ClusterNamespace
from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.model.parsing import ParseError, parse_json
from slipway._internal.model.stack import Stack, namespace_of
from slipway._internal.model.workspace import Workspace
from slipway._internal.run.kubernetes_objects import Event, KubernetesObject, ObjectList
from slipway._internal.run.process import passing_input, run, run_attached, stream_lines

KUBECTL_SECONDS = 60.0
"""How long a kubectl that does not follow a log may take, logging in included."""
T = TypeVar("T")


class Forbidden(SlipwayError):
    """The cluster does not permit this to the user."""


@dataclass(frozen=True)
class Cluster:
    """A stack's cluster and its namespace there. `kubectl_path` is kubectl; `stack` names the settings in errors."""

    program: Path
    where: ClusterNamespace
    stack: Stack

    def list_objects(self, kinds: Sequence[str], labels: str) -> list[KubernetesObject]:
        """Return the objects of some kinds that have the labels; none where the namespace is not there.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        return list(
            self._query(kubectl.get_objects(self.program, self.where, kinds, labels), ObjectList, ObjectList()).items
        )

    def find_object(self, kind: str, name: str, into: type[T]) -> T | None:
        """Return an object by name; None where it is not there.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        return self._query(kubectl.get_object(self.program, self.where, kind, name), into, None)

    def list_events(self, kind: str, name: str) -> list[Event]:
        """Return what happened to an object, the newest last.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        items = self._query(kubectl.get_events(self.program, self.where, kind, name), ObjectList, ObjectList()).items
        return sorted((item for item in items if isinstance(item, Event)), key=lambda event: event.last_seen)

    def read_logs(self, labels: str, container: str, *, tail: int, most: int) -> list[str]:
        """Return the last lines of all pods that have the labels, `most` at the same time, each with its pod's name.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        output = self._run_kubectl(kubectl.logs(self.program, self.where, labels, container, tail=tail, most=most))
        return output.splitlines()

    def read_pod_logs(
        self, pod: str, container: str, *, tail: int, previous: bool = False, prefix: bool = False
    ) -> list[str]:
        """Return a pod's last lines; `previous`: of the run of its container before this one.

        Raises:
            SlipwayError: it has none, or the cluster cannot be asked.
        """
        return self._run_kubectl(
            kubectl.pod_logs(self.program, self.where, pod, container, tail=tail, previous=previous, prefix=prefix)
        ).splitlines()

    def follow_logs(self, pod: str, container: str, *, tail: int, since: datetime | None = None) -> Iterator[str]:
        """Yield a pod's lines as they come, each with the pod's name, until its container ends or it is gone."""
        yield from stream_lines(
            kubectl.follow_pod_logs(self.program, self.where, pod, container, tail=tail, since=since)
        )

    def exec_command(self, pod: str, container: str, command: Sequence[str], *, terminal: bool) -> int:
        """Run a command in a container of a pod, joined to this process's standard streams; return its exit status."""
        return run_attached(kubectl.exec_command(self.program, self.where, pod, container, command, terminal=terminal))

    def create_object(self, manifest: Mapping[str, Any]) -> None:
        """Make an object.

        Raises:
            SlipwayError: the cluster refuses it, or cannot be asked.
        """
        self._run_kubectl(kubectl.create_object(self.program, self.where), stdin=json.dumps(manifest))

    def attach(self, pod: str, container: str) -> int:
        """Join this process's terminal to a container's that runs, until it ends."""
        return run_attached(kubectl.attach(self.program, self.where, pod, container, terminal=True))

    def passing_input(self, pod: str, container: str) -> AbstractContextManager[None]:
        """Pass this process's standard input, and its end, to a container that runs, for the time of a `with`."""
        return passing_input(kubectl.attach(self.program, self.where, pod, container, terminal=False))

    def print_log(self, pod: str, container: str) -> None:
        """Print all that a container writes to standard output, from its start to its end."""
        run_attached(kubectl.whole_log(self.program, self.where, pod, container))

    def delete_pod(self, pod: str) -> None:
        """Remove a pod, without waiting for its end; one that is gone is fine.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        self._run_kubectl(kubectl.delete_pod(self.program, self.where, pod))

    def delete_claim(self, claim: str) -> None:
        """Remove a volume with its data; one that is gone is fine.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        self._run_kubectl(kubectl.delete_claim(self.program, self.where, claim))

    def delete_namespace(self) -> None:
        """Remove the namespace with all that is in it; one that is gone is fine.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        self._run_kubectl(kubectl.delete_namespace(self.program, self.where))

    def delete_job(self, job: str) -> None:
        """Remove a job and its pods, without waiting for their end; one that is gone is fine.

        Raises:
            SlipwayError: the cluster cannot be asked.
        """
        self._run_kubectl(kubectl.delete_job(self.program, self.where, job))

    def _query(self, argv: list[str], into: type[T], default: T | None) -> T:
        output = self._run_kubectl(argv)
        if not output.strip():
            return default  # type: ignore[return-value]
        return self.decode(output, into, argv)

    def decode(self, output: str, into: type[T], argv: Sequence[str]) -> T:
        """Return kubectl's answer to a command as an `into`; SlipwayError if it has another form."""
        try:
            return parse_json(output, into)
        except ParseError as error:
            raise SlipwayError(
                f"kubectl printed something about {self.where.namespace} that cannot be read: {error}",
                remedy=f"Look for what is wrong with it: {' '.join(argv)}",
            ) from error

    def _run_kubectl(self, argv: list[str], stdin: str | None = None) -> str:
        _refuse_wrong_kubeconfig(self.where.kubeconfig, self.stack)
        result = run(argv, stdin=stdin, timeout=KUBECTL_SECONDS, apart=True)
        if result.code:
            raise explain_kubectl_error(result.errors or result.output, self.where, self.stack)
        return result.output


def refuse_missing_kubeconfig(stack: Stack) -> None:
    """Refuse where no file says which cluster a stack is on; nothing is started or asked.

    Raises:
        ConfigError: the file that the stack or the environment names is not there, or there is none at all.
    """
    _refuse_wrong_kubeconfig(stack.kubeconfig, stack)
    named = stack.kubeconfig or os.environ.get("KUBECONFIG") or "KUBERNETES_SERVICE_HOST" in os.environ
    if not named and not Path("~/.kube/config").expanduser().is_file():
        _, error_class, message, remedy = _NO_KUBECONFIG
        raise error_class(message.format(stack=stack.name), remedy=remedy.format(settings=_settings(stack)))


def _refuse_wrong_kubeconfig(kubeconfig: str | None, stack: Stack) -> None:
    """Refuse a file that is named and is not there."""
    if kubeconfig and not Path(kubeconfig).is_file():
        raise ConfigError(
            f"{stack.file}: slipway:kubeconfig is {kubeconfig}, which is not there",
            remedy="Put the cluster's kubeconfig there, or correct the setting.",
        )
    named = os.environ.get("KUBECONFIG") if not kubeconfig else None
    if named and not any(Path(file).is_file() for file in named.split(os.pathsep)):
        raise ConfigError(
            f"KUBECONFIG is {named}, and no such file is there",
            remedy=f"Correct or unset it, or set slipway:kubeconfig in {stack.file}.",
        )


def _settings(stack: Stack) -> str:
    return f"slipway:kubeconfig and slipway:context in {stack.file}"


def cluster_of(workspace: Workspace, stack: Stack) -> Cluster:
    """Return the door to a stack's cluster; nothing is asked yet.

    Raises:
        ConfigError: the stack's name gives no namespace.
        SlipwayError: there is no kubectl.
    """
    where = ClusterNamespace(namespace_of(workspace.deployed_name, stack), stack.kubeconfig, stack.context)
    return Cluster(kubectl_path(workspace), where, stack)


def kubectl_path(workspace: Workspace) -> Path:
    """Return kubectl: the one that `invoke setup` has put into the workspace, else the one on PATH.

    Raises:
        SlipwayError: there is none.
    """
    installed = workspace.scratch / "bin" / "kubectl"
    found = str(installed) if installed.is_file() else shutil.which("kubectl")
    if not found:
        raise SlipwayError(
            "kubectl is missing, which reads the state of stacks on Kubernetes",
            remedy="Run `invoke setup`, or put kubectl on PATH.",
        )
    return Path(found)


def explain_kubectl_error(output: str, where: ClusterNamespace, stack: Stack) -> SlipwayError:
    """Return what kubectl's words on its failure mean, and what to do about it."""
    lines = [line for line in output.splitlines() if line.strip() and not _KUBECTL_NOISE.match(line)]
    for pattern, error_class, message, remedy in _KUBECTL_ERRORS:
        if match := pattern.search(output):
            names = {
                "name": next(filter(None, match.groups()), ""),
                "stack": stack.name,
                "namespace": where.namespace,
                "settings": _settings(stack),
            }
            detail = lines[-1] if lines else output.strip()
            return error_class(message.format(**names), remedy=remedy.format(**names), detail=detail)
    return SlipwayError(
        f"kubectl failed in {where.namespace}",
        remedy="Fix what the lines above name and run it again.",
        detail="\n".join(lines[-12:]),
    )


_KUBECTL_NOISE = re.compile(r"Warning: |[EIW]\d{4} ")
_NO_KUBECONFIG = (
    re.compile(r"localhost:8080"),
    ConfigError,
    "no kubeconfig says where the cluster of `{stack}` is",
    "Log in to the cluster, so that ~/.kube/config or KUBECONFIG names it, or set {settings}. "
    "Without a cluster, `sudo invoke cluster up` starts one on this machine.",
)
_KUBECTL_ERRORS: tuple[tuple[re.Pattern[str], type[SlipwayError], str, str], ...] = (
    (
        re.compile(r'context "([^"]*)" does not exist|no context exists with the name: "([^"]*)"'),
        ConfigError,
        "the kubeconfig of `{stack}` has no context `{name}`",
        "`kubectl config get-contexts` lists the contexts; see {settings}.",
    ),
    _NO_KUBECONFIG,
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
        "logging in to the cluster of `{stack}` failed: `{name}` refused it",
        "Log in again, as the cluster's vendor describes.",
    ),
    (
        re.compile(r"x509: "),
        SlipwayError,
        "the cluster of `{stack}` presents a certificate that is not trusted",
        "The kubeconfig has to hold the cluster's present CA: log in again, or see {settings}.",
    ),
    (
        re.compile(
            r"Unable to connect to the server|The connection to the server|no such host|i/o timeout|no route to host|"
            r"deadline exceeded|Client\.Timeout|TLS handshake timeout|connection refused"
        ),
        SlipwayError,
        "the cluster of `{stack}` does not answer",
        "Check that it runs and that this machine reaches it (`kubectl cluster-info`); {settings} say which one it is.",
    ),
)
"""What kubectl says when it cannot do something: words, whose fault it is, what that means, what to do."""
