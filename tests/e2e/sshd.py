"""A real OpenSSH server on loopback, with keys of its own, and an `ssh` that is configured for it.

Debian's package is installed where it is missing, this is root and nothing would start a server for all networks.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.provider_world import free_port, wait

SEPARATED = Path("/run/sshd")
"""The empty folder that a server of root's needs."""
PACKAGE = "openssh-server"


@dataclass(frozen=True)
class Sshd:
    """A server that runs: `alias` is what ~/.ssh/config would call it, `environment` makes `ssh` know that."""

    port: int
    user: str
    alias: str
    environment: dict[str, str]


def program() -> str:
    """Return sshd's path, which it has to be called by; installed first where there is none."""
    find = {"path": f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"}
    found = shutil.which("sshd", **find)
    started = Path("/run/systemd/system").is_dir()  # then the package's own server would listen on every address
    if not found and os.geteuid() == 0 and shutil.which("apt-get") and not started:
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "--no-install-recommends", PACKAGE]):
            # In runlevel 1 the package's own server is not started: it would listen on every address.
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            done = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=900, check=False)
            assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        found = shutil.which("sshd", **find)
    assert found, f"deploys over SSH are tested with a real server: install {PACKAGE} (it need not run)"
    return found


@contextmanager
def sshd(folder: Path, **settings: str) -> Iterator[Sshd]:
    """Run a server that lets this user in by a key; `settings` are more of its sshd_config. All goes in a folder."""
    user, port = pwd.getpwuid(os.geteuid()).pw_name, free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    own = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": str(folder / "host"),
        "AuthorizedKeysFile": str(folder / "user.pub"),
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }
    text = "\n".join(f"{key} {value}" for key, value in {**settings, **own}.items())
    (folder / "sshd_config").write_text(f"{text}\n", encoding="utf-8")
    made = os.geteuid() == 0 and not SEPARATED.exists()
    if made:
        SEPARATED.mkdir(mode=0o755)
    with (folder / "sshd.log").open("w") as log:
        child = subprocess.Popen(
            [program(), "-D", "-e", "-f", folder / "sshd_config"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait(lambda: child.poll() is not None or socket.create_connection(("127.0.0.1", port)).close() is None)
        assert child.poll() is None, (folder / "sshd.log").read_text()
        yield Sshd(port, user, "TheServer", _client(folder, user, port))
    finally:
        child.terminate()
        child.wait()
        if made:
            with suppress(OSError):
                SEPARATED.rmdir()


def _client(folder: Path, user: str, port: int) -> dict[str, str]:
    """Return the environment whose `ssh` reads a configuration of ours: it takes no other home than the user's own."""
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "config").write_text(
        f"Host *\n IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known_hosts\n"
        f"Host TheServer\n HostName 127.0.0.1\n Port {port}\n User {user}\n"
    )
    programs = folder / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    (programs / "ssh").chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
