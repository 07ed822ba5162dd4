"""Slipway's resources for Pulumi programs; the modules beside this one implement them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions


class RouteArgs(TypedDict):
    """A route of the gateway. `route` is a path like /api; `upstream` is `containerName:port`.

    `body` is the maximum size of a request's body, like `100m` (empty: no limit). `connect` is how many seconds the
    service may take to accept a connection; `idle` is how many seconds may pass without a byte in either direction.
    `health` is the path that answers 200 while a container is healthy; without it, its port is connected to.
    `rules` is what [[routes]] in a service.toml says beyond the path. `protocol` is `http`, or `h2c` for HTTP/2.
    """

    service: Input[str]
    route: Input[str]
    upstream: Input[str]
    body: NotRequired[Input[str]]
    connect: NotRequired[Input[int]]
    idle: NotRequired[Input[int]]
    health: NotRequired[Input[str]]
    rules: NotRequired[Input[Mapping[str, Any]]]
    protocol: NotRequired[Input[str]]


class CanaryArgs(TypedDict):
    """A canary's share of a service's requests: `upstream` is `containerName:port`, `percent` 1 to 99."""

    upstream: Input[str]
    percent: Input[int]


class HealthcheckArgs(TypedDict):
    """A health check: a command without a shell, times in seconds, and the failures in a row that count."""

    command: Input[Sequence[Input[str]]]
    interval: Input[int]
    timeout: Input[int]
    startPeriod: Input[int]
    retries: Input[int]


class _Resource(pulumi.CustomResource):
    """A resource whose properties have the same names as in Pulumi's state."""

    def __init__(
        self, type_token: str, name: str, inputs: Mapping[str, Any], computed: Sequence[str], opts: Any
    ) -> None:
        set_inputs = {key: value for key, value in inputs.items() if value is not None}
        super().__init__(f"slipway:{type_token}", name, {**dict.fromkeys(computed), **set_inputs}, opts)

    def _output(self, name: str) -> Output[Any]:
        output: Output[Any] = self.__dict__[name]
        return output


class Network(_Resource):
    """The network that connects a stack's containers and its gateway.

    Args:
        resource_name: its name in the state.
        name: its name in the engine.
        labels: its labels there.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        name: Input[str],
        labels: Mapping[str, Input[str]] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {"name": name, "labels": labels}
        super().__init__("docker:Network", resource_name, inputs, ["networkId"], opts)

    @property
    def network_name(self) -> Output[str]:
        """Its name in the engine: the `network` of containers and the gateway."""
        return self._output("name")

    @property
    def network_id(self) -> Output[str]:
        """Its id in the engine."""
        return self._output("networkId")


class Container(_Resource):
    """A service's container: deployed once it is healthy, and replaced when anything about it changes.

    Args:
        resource_name: its name in the state.
        service: the service's name.
        stack: the stack's name.
        workspace: the workspace's name.
        image: `repository@sha256:digest`.
        network: the stack's network.
        env: environment variables; anyone with access to the engine can read them.
        secrets: name → value of the files under /run/secrets. Pass the values as Pulumi secrets.
        port: the port that the service listens on, passed to it as PORT. It is never published.
        memory: its memory limit, like `256m`.
        cpus: the number of processors that it may use.
        tmp_exec: whether programs may run from its /tmp; by default they may not.
        tmp_size: the size limit of its /tmp, like `64m`; it counts towards the container's memory.
        group: the `container_name` of the service's first container, whose name on the network it shares.
        canary: True for one that only the gateway sends requests to: the service's name does not lead to it.
        health_timeout: seconds it may take to become healthy; by default 60, or what the image's health check allows.
        drain_seconds: seconds that requests in flight have to finish before the container is removed.
        entrypoint: replaces the image's ENTRYPOINT.
        command: replaces the image's CMD.
        volumes: name → folder of its data volumes. They outlive the container. A container with volumes is replaced by
            stopping the old one before the new one starts; if that fails, the old one is started again.
        healthcheck: replaces the image's health check.
        read_only: False to let it write to its root file system.
        capabilities: Linux capabilities that it keeps; by default none.
        user: replaces the image's USER.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        service: Input[str],
        stack: Input[str],
        workspace: Input[str],
        image: Input[str],
        network: Input[str],
        env: Mapping[str, Input[str]] | None = None,
        secrets: Mapping[str, Input[str]] | None = None,
        port: Input[int] | None = None,
        memory: Input[str] | None = None,
        cpus: Input[float] | None = None,
        tmp_exec: Input[bool] | None = None,
        tmp_size: Input[str] | None = None,
        group: Input[str] | None = None,
        canary: Input[bool] | None = None,
        health_timeout: Input[float] | None = None,
        drain_seconds: Input[int] | None = None,
        entrypoint: Sequence[Input[str]] | None = None,
        command: Sequence[Input[str]] | None = None,
        volumes: Mapping[str, Input[str]] | None = None,
        healthcheck: HealthcheckArgs | None = None,
        read_only: Input[bool] | None = None,
        capabilities: Sequence[Input[str]] | None = None,
        user: Input[str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "service": service,
            "stack": stack,
            "workspace": workspace,
            "image": image,
            "network": network,
            "env": env,
            "secrets": {name: Output.secret(value) for name, value in secrets.items()} if secrets else None,
            "port": port,
            "memory": memory,
            "cpus": cpus,
            "tmpExec": tmp_exec,
            "tmpSize": tmp_size,
            "group": group,
            "canary": canary,
            "healthTimeout": health_timeout,
            "drainSeconds": drain_seconds,
            "entrypoint": entrypoint or None,
            "command": command or None,
            "volumes": volumes or None,
            "healthcheck": healthcheck,
            "readOnly": read_only,
            "capabilities": capabilities or None,
            "user": user,
        }
        computed = ["containerName", "containerId", "imageId"]
        super().__init__("docker:Container", resource_name, inputs, computed, opts)

    @property
    def container_name(self) -> Output[str]:
        """Its name in the engine, and its host name on the network."""
        return self._output("containerName")

    @property
    def container_id(self) -> Output[str]:
        """Its id in the engine."""
        return self._output("containerId")

    @property
    def image_id(self) -> Output[str]:
        """The id of its image."""
        return self._output("imageId")


class Job(_Resource):
    """A job's container, in which its image's program is started at its times: deployed once that can be done.

    Args:
        resource_name: its name in the state.
        service: the job's name.
        schedule: five fields as cron has them, in UTC, or a word such as @daily.
        secrets: name → value of the files under /run/secrets. Pass the values as Pulumi secrets.
        inputs: what a Container has too: `stack`, `workspace`, `image`, `network`, `env`, `memory`, `cpus`, `tmp_exec`,
            `tmp_size`, and `drain_seconds`: seconds that a run has to end by itself before the container is removed.
        opts: Pulumi's options.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        service: Input[str],
        schedule: Input[str],
        secrets: Mapping[str, Input[str]] | None = None,
        opts: ResourceOptions | None = None,
        **inputs: Any,
    ) -> None:
        named = {
            **{_camel_case(name): value for name, value in inputs.items()},
            "service": service,
            "schedule": schedule,
            "secrets": {name: Output.secret(value) for name, value in secrets.items()} if secrets else None,
        }
        super().__init__("docker:Job", resource_name, named, ["containerName", "containerId", "imageId"], opts)

    @property
    def container_name(self) -> Output[str]:
        """Its name in the engine."""
        return self._output("containerName")


class ReleaseCommand(_Resource):
    """A service's release command: it runs to its end, once for each image. Make what serves depend on it.

    Args:
        resource_name: its name in the state.
        target: `docker` or `kubernetes`.
        service: the service's name.
        stack: the stack's name.
        image: `repository@sha256:digest`.
        release: the program and its words.
        rolls_back: whether earlier images come back: then nothing is run.
        secrets: on a Docker engine: name → value of the files under /run/secrets. Pass the values as Pulumi secrets.
        inputs: on a Docker engine what the service's Container has too: `workspace`, `network`, `env`, `memory`,
            `cpus`, `tmp_exec`, `tmp_size`; on Kubernetes the `job` that runs it, without a name.
        opts: Pulumi's options.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        target: str,
        service: Input[str],
        stack: Input[str],
        image: Input[str],
        release: Sequence[Input[str]],
        rolls_back: Input[bool] | None = None,
        secrets: Mapping[str, Input[str]] | None = None,
        opts: ResourceOptions | None = None,
        **inputs: Any,
    ) -> None:
        named = {
            **{_camel_case(name): value for name, value in inputs.items()},
            "service": service,
            "stack": stack,
            "image": image,
            "release": release,
            "rollsBack": rolls_back,
            "secrets": {name: Output.secret(value) for name, value in secrets.items()} if secrets else None,
        }
        super().__init__(f"{target}:ReleaseCommand", resource_name, named, ["runs"], opts)

    @property
    def runs(self) -> Output[list[dict[str, Any]]]:
        """What it has run for, the newest first: digest, command and time (RFC 3339, UTC)."""
        return self._output("runs")


class Gateway(_Resource):
    """The stack's Envoy, which switches to new routes without dropping a connection.

    Args:
        resource_name: its name in the state.
        workspace: the workspace's name.
        stack: the stack's name.
        image: `repository@sha256:digest` of the base `envoy`.
        network: the stack's network, where the gateway is named `gateway` and listens on 8080.
        port: the port on the engine's machine.
        routes: its routes; use `container_name` in upstreams, so that Pulumi keeps the order.
        options: what it has besides, readable in its configuration.
        consumers: name → `keys`, the SHA-256 of each of the consumer's keys, and `groups`.
        canaries: service → where the share of a canary goes, and the percentage of the service's requests that it is.
        secrets: name → value of the files under /run/secrets that options name. Pass the values as Pulumi secrets.
        tls_port: the port on the engine's machine where it speaks TLS, if its options say how.
        http3_port: the UDP port on the engine's machine where it speaks HTTP/3, if its options say so.
        metrics_port: the port on the engine's machine, at its loopback address, of its metrics, if its options say so.
        bind: the address on the engine's machine; by default only that machine can reach it.
        drain_seconds: seconds that requests in flight have to finish when the gateway itself is removed.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        workspace: Input[str],
        stack: Input[str],
        image: Input[str],
        network: Input[str],
        port: Input[int],
        routes: Sequence[Input[RouteArgs]],
        options: Mapping[str, Any] | None = None,
        consumers: Mapping[str, Input[Mapping[str, Any]]] | None = None,
        canaries: Mapping[str, Input[CanaryArgs]] | None = None,
        secrets: Mapping[str, Input[str]] | None = None,
        tls_port: Input[int] | None = None,
        metrics_port: Input[int] | None = None,
        http3_port: Input[int] | None = None,
        bind: Input[str] | None = None,
        drain_seconds: Input[int] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "workspace": workspace,
            "stack": stack,
            "image": image,
            "network": network,
            "port": port,
            "routes": routes,
            "options": options or None,
            "consumers": {name: Output.secret(who) for name, who in consumers.items()} if consumers else None,
            "canaries": canaries or None,
            "secrets": {name: Output.secret(value) for name, value in secrets.items()} if secrets else None,
            "tlsPort": tls_port,
            "metricsPort": metrics_port,
            "http3Port": http3_port,
            "bind": bind,
            "drainSeconds": drain_seconds,
        }
        computed = ["containerName", "containerId", "imageId", "url"]
        super().__init__("docker:Gateway", resource_name, inputs, computed, opts)

    @property
    def url(self) -> Output[str]:
        """The gateway's URL."""
        return self._output("url")

    @property
    def container_id(self) -> Output[str]:
        """Its id in the engine."""
        return self._output("containerId")


class Release(_Resource):
    """The record of the stack's last twenty releases. Make everything that a release changes depend on it.

    Args:
        resource_name: its name in the state.
        mode: the mode that selected the images.
        digests: service → its image, by digest.
        services: names of the services, for information.
        contents: service → content digest, if it is known.
        beside: what runs beside the services (the gateway) → its image, by digest.
        canaries: service → the `image` and `percent` of its canary; None: a deploy that knows of no canaries, and that
            is refused while there are some.
        ends: how the canaries that are gone have ended: `promoted` or `aborted`.
    """

    def __init__(
        self,
        resource_name: str,
        *,
        mode: Input[str],
        digests: Mapping[str, Input[str]],
        services: Sequence[Input[str]] | None = None,
        contents: Mapping[str, Input[str]] | None = None,
        beside: Mapping[str, Input[str]] | None = None,
        canaries: Mapping[str, Mapping[str, Any]] | None = None,
        ends: str | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "mode": mode,
            "digests": digests,
            "services": services,
            "contents": contents,
            "beside": beside,
            "canaries": canaries,
            "ends": ends,
        }
        super().__init__("index:Release", resource_name, inputs, ["releases", "steps"], opts)

    @property
    def releases(self) -> Output[list[dict[str, Any]]]:
        """Newest first: id, time (RFC 3339, UTC), actor, commit, dirty, mode, digests, contents and beside."""
        return self._output("releases")

    @property
    def steps(self) -> Output[list[dict[str, Any]]]:
        """The steps of canaries, newest first; known once the record names the canaries that shall be."""
        return self._output("steps")

    @property
    def newest(self) -> Output[dict[str, Any]]:
        """The record of the release that is being deployed."""
        return self.releases.apply(lambda releases: releases[0])


class Live(_Resource):
    """Which release is live, and which were before. Make it depend on everything that a release consists of.

    Args:
        resource_name: its name in the state.
        release: the record of the release that is being deployed: a Release's `newest`.
    """

    def __init__(
        self, resource_name: str, *, release: Input[Mapping[str, Any]], opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("index:Live", resource_name, {"release": release}, ["live", "good"], opts)

    @property
    def live(self) -> Output[str]:
        """The id of the live release."""
        return self._output("live")

    @property
    def good(self) -> Output[list[dict[str, Any]]]:
        """The records of releases that were live, newest first."""
        return self._output("good")


class Suffix(_Resource):
    """A random suffix for a name, renewed whenever a secret value changes.

    Args:
        resource_name: its name in the state.
        of: the secret values, stored encrypted. Pass them as Pulumi secrets.
    """

    def __init__(
        self, resource_name: str, *, of: Mapping[str, Input[str]], opts: ResourceOptions | None = None
    ) -> None:
        secret = {name: Output.secret(value) for name, value in of.items()}
        super().__init__("index:Suffix", resource_name, {"of": secret}, ["text"], opts)

    @property
    def text(self) -> Output[str]:
        """Ten letters and digits."""
        return self._output("text")


class Protection(_Resource):
    """Whether the stack is protected, for the next deploy to compare. Make everything that runs depend on it.

    Args:
        resource_name: its name in the state.
        stack: the stack's name.
        protected: what its file says.
    """

    def __init__(
        self, resource_name: str, *, stack: Input[str], protected: Input[bool], opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("index:Protection", resource_name, {"stack": stack, "protected": protected}, [], opts)

    @property
    def protected(self) -> Output[bool]:
        """What its file says; known once the deploy may continue."""
        return self._output("protected")


def _camel_case(name: str) -> str:
    """Return a name as Pulumi's state has it: `tmp_size` is `tmpSize`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
