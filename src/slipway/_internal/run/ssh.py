"""The server that DOCKER_HOST=ssh://… names: its address, the `ssh` commands that lead to its engine, what failed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from slipway._internal.model.errors import ConfigError, SlipwayError

SSH_SCHEME = "ssh://"
DOCKER_SOCKET = "/var/run/docker.sock"
CONNECT_SECONDS = 30
ADDRESS_FORM = "ssh://USER@HOST[:PORT][/PATH/OF/docker.sock]"
SSH_OPTIONS = {
    "BatchMode": "yes",  # nobody is asked for anything
    "ConnectTimeout": str(CONNECT_SECONDS),
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "LogLevel": "INFO",  # else the reason of a refused channel is not printed
    "ControlMaster": "no",  # a connection of its own: a shared one would keep the socket after us
    "ControlPath": "none",
}
"""Set on the command line, so that the user's ~/.ssh/config decides everything but these."""
FORWARDING_OPTIONS = {
    "ClearAllForwardings": "no",
    "ExitOnForwardFailure": "no",  # the user's own forwardings may be in use by another connection
    "StreamLocalBindUnlink": "yes",
    "StreamLocalBindMask": "0177",
    "PermitLocalCommand": "no",
}


@dataclass(frozen=True)
class SshServer:
    """A server and the socket of its engine. `user` and `port` are empty where ~/.ssh/config decides."""

    host: str
    user: str = ""
    port: str = ""
    socket: str = DOCKER_SOCKET

    @property
    def login_arguments(self) -> list[str]:
        """The words after `ssh` and its options that name the server."""
        user = ["-l", self.user] if self.user else []
        port = ["-p", self.port] if self.port else []
        return [*user, *port, "--", self.host]


def parse_address(address: str, setting: str = "DOCKER_HOST") -> SshServer:
    """Return the server that an address `ssh://…` names. `setting` says in errors what has the address.

    Raises:
        ConfigError: it is no such address, or holds a password.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit(SSH_SCHEME)
    if parts.password is not None:
        raise ConfigError(
            f"{setting} holds a password, which ssh does not take",
            remedy=f"Write {ADDRESS_FORM}, and log in with a key: `ssh-copy-id "
            f"{parts.username or 'USER'}@{parts.hostname}`.",
        )
    try:
        port = parts.port
    except ValueError:
        port = 0
    user, _, host = parts.netloc.rpartition("@")
    host = host.removesuffix(f":{port}").strip("[]")  # not `hostname`: in ~/.ssh/config, capitals count
    if not host or parts.query or parts.fragment or port == 0 or any(character.isspace() for character in address):
        shown = f"{SSH_SCHEME}{address.removeprefix(SSH_SCHEME).rpartition('@')[2]}"  # before the @ may be a password
        raise ConfigError(f"{setting} is {shown!r}, which names no server", remedy=f"Write {ADDRESS_FORM}.")
    return SshServer(host, unquote(user), str(port or ""), parts.path.rstrip("/") or DOCKER_SOCKET)


def tunnel_command(server: SshServer, local: str) -> list[str]:
    """Return the command that leads a unix socket of this machine to the server's engine while it runs."""
    words = [*_option_arguments({**SSH_OPTIONS, **FORWARDING_OPTIONS}), "-N", "-T", "-L", f"{local}:{server.socket}"]
    return ["ssh", *words, *server.login_arguments]


def inspect_command(server: SshServer) -> list[str]:
    """Return the command that prints what an engine's socket is on the server.

    That is `absent`, `denied` to this user, `refused` by sshd alone (the engine answers there), or `silent`.
    """
    path = shlex.quote(server.socket)
    answers = f"docker --host unix://{path} version >/dev/null 2>&1"
    writable = f"if {answers}; then echo refused; else echo silent; fi"
    script = f"if test -w {path}; then {writable}; elif test -e {path}; then echo denied; else echo absent; fi"
    return [
        "ssh",
        *_option_arguments({**SSH_OPTIONS, "ClearAllForwardings": "yes"}),
        "-T",
        *server.login_arguments,
        script,
    ]


def connection_error(address: str, server: SshServer, output: str) -> SlipwayError:
    """Return the user's version of what `ssh` printed before it ended without a connection."""
    manual_command = f"`{shlex.join(['ssh', *server.login_arguments])}`"
    reasons = {
        "Host key verification failed": (
            "ssh does not know the server's key, or knows another",
            f"Compare the key with the server's own and accept it once: {manual_command}.",
        ),
        "Permission denied": (
            "ssh could not log in",
            f"Log in with a key that needs no question (an agent may hold it): {manual_command} has to work by itself.",
        ),
        "Too many authentication failures": (
            "ssh could not log in",
            "Name the key in ~/.ssh/config: IdentityFile and IdentitiesOnly yes.",
        ),
        "Could not resolve hostname": (
            f"there is no host {server.host}",
            "Correct DOCKER_HOST, or name the host in ~/.ssh/config.",
        ),
        "Bad configuration option": ("ssh rejects its configuration", "Correct ~/.ssh/config."),
    }
    otherwise = ("ssh could not connect", f"See that {manual_command} works from this machine.")
    reason, remedy = next((explanation for words, explanation in reasons.items() if words in output), otherwise)
    return SlipwayError(f"the Docker engine at {address} cannot be reached: {reason}", remedy=remedy, detail=output)


def engine_error(address: str, server: SshServer, output: str, state: str) -> SlipwayError:
    """Return why the engine is silent though `ssh` is connected.

    Args:
        address: as the user has it.
        server: what it names.
        output: what `ssh` printed.
        state: what `inspect_command` printed.
    """
    forwarding = "`AllowStreamLocalForwarding yes` (and no `DisableForwarding`) in sshd_config"
    if state == "refused" or "administratively prohibited" in output:
        reason = "its sshd does not forward sockets"
        remedy = f"On the server, set {forwarding}; in authorized_keys, the key must not have `restrict`."
    elif state == "denied":
        reason = f"this user may not use {server.socket} there"
        remedy = f"On the server: `sudo usermod -aG docker {server.user or '$USER'}`, then try again."
    elif state == "absent":
        reason = f"there is no {server.socket} there"
        remedy = f"Start a Docker engine there; if its socket is elsewhere, name it in the address: {ADDRESS_FORM}."
    else:
        reason = "nothing answers there"
        remedy = (
            f"Start the engine there: `sudo systemctl start docker`. If it runs, its sshd has to have {forwarding}."
        )
    return SlipwayError(f"the Docker engine at {address} does not answer: {reason}", remedy=remedy, detail=output)


def _option_arguments(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
