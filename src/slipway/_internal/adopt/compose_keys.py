"""Every key that a Compose file may have, and what becomes of it.

A key is either carried over by `compose_service`, or it has its sentence here. One that neither knows is told as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway._internal.adopt.plan import Fate


@dataclass(frozen=True)
class Treatment:
    """What becomes of a key: its fate, why, and what to do instead."""

    fate: Fate
    why: str
    instead: str = ""


CARRIED = frozenset(
    {
        *("build", "image", "command", "entrypoint", "environment", "env_file", "ports", "expose", "depends_on"),
        *("healthcheck", "secrets", "configs", "volumes", "user", "read_only", "cap_add", "cap_drop", "deploy"),
        *("scale", "mem_limit", "cpus", "stop_grace_period", "stop_signal", "working_dir", "gpus", "tmpfs", "platform"),
        *("privileged", "network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup", "runtime", "networks", "extends"),
    }
)
"""The keys of a service that `compose_service` looks at itself."""
BUILD_CARRIED = frozenset({"context", "dockerfile", "dockerfile_inline", "target", "args"})
"""The keys of `build` that it looks at itself."""

_CLUSTER = "Slipway rolls out, restarts and places containers in its own way"
_SAME = Treatment("kept otherwise", _CLUSTER)
_NOT_KNOWN = Treatment("not carried over", "a service of Slipway has no such setting")


def _lost(why: str, instead: str = "") -> Treatment:
    return Treatment("not carried over", why, instead)


def _refused(why: str, instead: str) -> Treatment:
    return Treatment("refused", why, instead)


SERVICE_KEYS: Mapping[str, Treatment] = {
    "annotations": _lost("labels of containers are Slipway's own", "A transform in infra/ sets others."),
    "attach": Treatment("kept otherwise", "`invoke logs` shows any service's log"),
    "blkio_config": _lost("there is no limit of block devices", "A transform in infra/ sets one."),
    "cgroup_parent": _lost("the engine chooses the control group"),
    "container_name": Treatment(
        "kept otherwise", "containers are named after the workspace, the stack and the service", "Call it by its name."
    ),
    "cpu_count": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "cpu_percent": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "cpu_period": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "cpu_quota": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "cpu_rt_period": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "cpu_rt_runtime": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "cpu_shares": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "cpuset": _lost("processors are limited by [resources] cpus", "cpus = 1.0"),
    "credential_spec": _lost("it is for Windows"),
    "develop": Treatment("kept otherwise", "`invoke dev` builds and swaps what is saved", "[dev] sync copies folders."),
    "device_cgroup_rules": _refused("a container gets no devices of its host", "Leave the rules out, or skip it."),
    "devices": _refused(
        "a container gets no devices of its host", "gpu = 1 in [resources] gives it a GPU; else skip it."
    ),
    "dns": _lost("the engine's or cluster's name server is asked"),
    "dns_opt": _lost("the engine's or cluster's name server is asked"),
    "dns_search": _lost("the engine's or cluster's name server is asked"),
    "domainname": _lost("a container has its service's name"),
    "external_links": _lost("what runs outside of the stack has no alias in it", "Give its address in [env]."),
    "extra_hosts": _lost("names come from the engine or cluster alone", "Give the address in [env]."),
    "group_add": _lost("a container has its user's groups", "Set [security] user to USER:GROUP."),
    "hostname": Treatment("kept otherwise", "other services call it by its service's name"),
    "init": Treatment("kept otherwise", "every container has an init process"),
    "isolation": _lost("it is for Windows"),
    "label_file": _lost("labels of containers are Slipway's own", "A transform in infra/ sets others."),
    "labels": _lost("labels of containers are Slipway's own", "A transform in infra/ sets others."),
    "links": Treatment("kept otherwise", "all services reach each other by name", "An alias of a link is not there."),
    "logging": Treatment("kept otherwise", "logs are the engine's, and `invoke logs` shows them"),
    "mac_address": _lost("the engine gives addresses"),
    "mem_reservation": _lost("memory is limited by [resources] memory"),
    "mem_swappiness": _lost("swap is the machine's affair"),
    "memswap_limit": _lost("swap is the machine's affair"),
    "models": _lost("models are run by Docker Model Runner alone", "Give the address of a model's server in [env]."),
    "oom_kill_disable": _lost("a container that needs more memory than it may have is ended"),
    "oom_score_adj": _lost("a container that needs more memory than it may have is ended"),
    "pids_limit": Treatment("kept otherwise", "every container may have 4096 processes"),
    "post_start": _lost("nothing runs in a container beside its own command", "Put it into the image's entrypoint."),
    "pre_start": _lost("nothing runs before a container", "`release` in service.toml runs once for each new image."),
    "pre_stop": _lost("nothing runs in a container beside its own command", "`drain` gives it time to end."),
    "profiles": _lost("every service is adopted and deployed, whatever its profile", "--skip leaves one out."),
    "provider": _refused(
        "it is no container but a program of the machine's", "Give its address in [env], and skip it."
    ),
    "pull_policy": Treatment("kept otherwise", "an image is pulled by its digest"),
    "pull_refresh_after": Treatment("kept otherwise", "an image is pulled by its digest"),
    "restart": Treatment("kept otherwise", "a container that ends is started again", "[job] is for what has an end."),
    "security_opt": Treatment("kept otherwise", "every container has no-new-privileges and the engine's own profiles"),
    "shm_size": _lost("shared memory has the engine's size", "A transform in infra/ sets another."),
    "stdin_open": _lost("containers have no terminal", "`invoke exec` opens one."),
    "storage_opt": _lost("the engine decides where layers are kept"),
    "sysctls": _lost("kernel parameters are the machine's", "A transform in infra/ sets them."),
    "tty": _lost("containers have no terminal", "`invoke exec` opens one."),
    "ulimits": _lost("limits of processes are the engine's", "A transform in infra/ sets others."),
    "use_api_socket": _refused("a container with the engine's socket is root on its host", "Skip it."),
    "volumes_from": _refused("no service gets another's volumes", "Name the volumes, or skip it."),
}
"""The keys of a service that are not looked at further."""

BUILD_KEYS: Mapping[str, Treatment] = {
    "additional_contexts": _lost("a build has the service's folder and its libs", "`libs` names folders of libs/."),
    "cache_from": Treatment("kept otherwise", "layers are cached as workspace.toml says: [build] cache"),
    "cache_to": Treatment("kept otherwise", "layers are cached as workspace.toml says: [build] cache"),
    "entitlements": _lost("a build has no privileges"),
    "extra_hosts": _lost("a build asks the builder's name server"),
    "isolation": _lost("it is for Windows"),
    "labels": _lost("labels of an image are its Dockerfile's", "LABEL in the Dockerfile."),
    "network": _lost("a build has the builder's network"),
    "no_cache": _lost("a build of the same content is the same image"),
    "no_cache_filter": _lost("a build of the same content is the same image"),
    "platforms": _lost("platforms are the workspace's", "workspace.toml: [build] platforms."),
    "privileged": _lost("a build has no privileges"),
    "provenance": Treatment("kept otherwise", "the gate makes provenance"),
    "pull": Treatment("kept otherwise", "images are taken by digest"),
    "sbom": Treatment("kept otherwise", "the gate makes SBOMs"),
    "secrets": _lost("build secrets are the workspace's", "workspace.toml: [build.secrets]."),
    "shm_size": _lost("shared memory has the builder's size"),
    "ssh": _lost("a build has no SSH agent", "A build secret with a key: workspace.toml, [build.secrets]."),
    "tags": Treatment("kept otherwise", "images are named after the workspace and the service"),
    "ulimits": _lost("limits of processes are the builder's"),
}

DEPLOY_KEYS: Mapping[str, Treatment] = {
    "endpoint_mode": _SAME,
    "labels": _lost("labels of containers are Slipway's own", "A transform in infra/ sets others."),
    "mode": _SAME,
    "placement": _lost("the engine or cluster chooses the machine", "A transform in infra/ sets it."),
    "restart_policy": _SAME,
    "rollback_config": _SAME,
    "update_config": _SAME,
}
"""The keys of `deploy` beside `replicas` and `resources`."""

TOP_KEYS: Mapping[str, Treatment] = {
    "configs": Treatment("carried over", "files that services name"),
    "include": Treatment("carried over", "its files are read"),
    "models": _lost("models are run by Docker Model Runner alone", "Give the address of a model's server in [env]."),
    "name": Treatment("kept otherwise", "the workspace has a name of its own"),
    "networks": Treatment("kept otherwise", "a stack is one network: all its services reach each other by name"),
    "secrets": Treatment("carried over", "secrets that services name"),
    "services": Treatment("carried over", "the services"),
    "version": Treatment("kept otherwise", "Docker Compose itself ignores it"),
    "volumes": Treatment("carried over", "volumes that services name; each service has its own"),
}


ENTRY_KEYS: Mapping[str, frozenset[str]] = {
    "configs": frozenset({"source", "target"}),
    "depends_on": frozenset({"condition", "required"}),
    "ports": frozenset({"target", "published", "protocol", "mode"}),
    "secrets": frozenset({"source", "target"}),
    "volumes": frozenset({"type", "source", "target", "bind", "volume", "tmpfs"}),
}
"""What is looked at of each entry of these lists and tables; another key of one is told."""
ENTRY_DEFAULTS: Mapping[str, Mapping[str, object]] = {"bind": {"create_host_path": True}, "volume": {}, "tmpfs": {}}
"""What Docker Compose itself writes into such an entry."""


def treatment_of(key: str, known: Mapping[str, Treatment]) -> Treatment:
    """Return what becomes of a key that is not carried over."""
    if key.startswith("x-"):
        return Treatment("not carried over", "it is an extension, which no program but its own knows")
    return known.get(key, _NOT_KNOWN)
