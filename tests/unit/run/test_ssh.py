"""The way to a server's engine: which server an address names, the `ssh` commands, and what failures are told as."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from slipway._internal.model.errors import ConfigError, SlipwayError
from slipway._internal.run import ssh
from slipway._internal.run.ssh import DOCKER_SOCKET, SshServer

ADDRESS = "ssh://me@server"
SERVER = SshServer("server", "me")
PROHIBITED = "channel 1: open failed: administratively prohibited: open failed"


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("ssh://server", SshServer("server")),
        ("ssh://MyServer", SshServer("MyServer")),
        ("ssh://me@server:2222", SshServer("server", "me", "2222")),
        ("ssh://me@server/", SshServer("server", "me")),
        ("ssh://me%40corp@server", SshServer("server", "me@corp")),
        ("ssh://me@[::1]:22", SshServer("::1", "me", "22")),
        ("ssh://me@server/run/user/1000/docker.sock", SshServer("server", "me", "", "/run/user/1000/docker.sock")),
    ],
)
def test_an_address_names_a_server_as_the_user_s_ssh_configuration_does(address: str, server: SshServer) -> None:
    assert ssh.parse_address(address) == server


@pytest.mark.parametrize(
    "address",
    [
        *("ssh://", "ssh:///run/docker.sock", "ssh://me@", "ssh://server:99999", "ssh://server:0", "ssh://server:x"),
        *("ssh://[::1", "ssh://server?a=b", "ssh://server#a", "ssh://my server"),
    ],
)
def test_what_names_no_server_is_refused_with_the_form_of_an_address(address: str) -> None:
    with pytest.raises(ConfigError, match=r"the Docker context 'far' is .* names no server") as caught:
        ssh.parse_address(address, "the Docker context 'far'")
    assert ssh.ADDRESS_FORM in caught.value.remedy


@pytest.mark.parametrize("address", ["ssh://me:hush@server", "ssh://me:hush@server:99999", "ssh://me:hush@[::1"])
def test_a_password_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ssh.parse_address(address)
    assert "hush" not in f"{caught.value.message}{caught.value.remedy}"


def test_a_tunnel_asks_nobody_and_leads_to_the_engine_s_socket() -> None:
    command = ssh.tunnel_command(SshServer("server", "me", "2222"), "/run/x/engine.sock")
    assert command[0] == "ssh"
    assert command[-6:] == ["-l", "me", "-p", "2222", "--", "server"]
    assert command[command.index("-L") + 1] == f"/run/x/engine.sock:{DOCKER_SOCKET}"
    assert "BatchMode=yes" in command and "-N" in command


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "-F/dev/null"])
def test_a_host_that_looks_like_an_option_is_none(host: str) -> None:
    assert ssh.tunnel_command(SshServer(host), "/x")[-2:] == ["--", host]
    assert ssh.inspect_command(SshServer(host))[-3:-1] == ["--", host]


@pytest.mark.parametrize(
    ("said", "reason", "remedy"),
    [
        ("Host key verification failed.", "does not know the server's key", "ssh -l me -- server"),
        ("me@server: Permission denied (publickey).", "could not log in", "an agent may hold it"),
        ("Received disconnect: Too many authentication failures", "could not log in", "IdentitiesOnly"),
        ("ssh: Could not resolve hostname server: Name or service not known", "no host server", "~/.ssh/config"),
        ("/root/.ssh/config: line 1: Bad configuration option: x", "its configuration", "~/.ssh/config"),
        ("ssh: connect to host server port 22: Connection refused", "could not connect", "ssh -l me -- server"),
        ("", "could not connect", "ssh -l me -- server"),
    ],
)
def test_why_there_is_no_connection_is_told_with_what_ssh_said(said: str, reason: str, remedy: str) -> None:
    error = ssh.connection_error(ADDRESS, SERVER, said)
    assert ADDRESS in error.message and reason in error.message
    assert remedy in error.remedy
    assert (error.detail, error.exit_code) == (said, 1)


@pytest.mark.parametrize(
    ("said", "state", "reason", "remedy"),
    [
        (PROHIBITED, "silent", "does not forward", "AllowStreamLocalForwarding yes"),
        ("channel 1: open failed: connect failed: open failed", "denied", "may not use", "usermod -aG docker me"),
        ("channel 1: open failed: connect failed: open failed", "absent", "there is no /var", "PATH/OF/docker.sock"),
        ("channel 1: open failed: connect failed: open failed", "silent", "nothing answers", "systemctl start docker"),
        (
            "channel 1: open failed: connect failed: open failed",
            "refused",
            "does not forward",
            "AllowStreamLocalForwarding",
        ),
        ("", "", "nothing answers", "systemctl start docker"),
    ],
)
def test_why_the_engine_is_silent_behind_a_connection_is_told(said: str, state: str, reason: str, remedy: str) -> None:
    error = ssh.engine_error(ADDRESS, SERVER, said, state)
    assert isinstance(error, SlipwayError)
    assert ADDRESS in error.message and reason in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(("path", "state"), [("/dev/null", "silent"), ("/nothing here; exit 1", "absent")])
def test_the_server_is_asked_what_is_wrong_with_its_socket(path: str, state: str) -> None:
    script = ssh.inspect_command(SshServer("server", socket=path))[-1]
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [state], shlex.quote(script)
