"""Reading sockets from Linux's /proc files."""

from __future__ import annotations

import os
import socket

import pytest

from slipway._internal.rollout import sockets

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532        0 1 1 0 100 0 0 10 0
   1: 0B00007F:9C4D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 00000000:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: 030012AC:1F40 020012AC:D431 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
   4: 030012AC:1F40 020012AC:D433 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
"""
TABLE6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 00000000000000000000000001000000:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 0000000000000000FFFF0000030012AC:0BB8 0000000000000000FFFF0000020012AC:A3F0 01 00000000:00000000 00:00000000
"""


def test_who_listens_is_read_but_for_the_engines_own_dns() -> None:
    assert sockets.listening_addresses(TABLE) == [("0.0.0.0", 9000), ("127.0.0.1", 8000)]
    assert sockets.listening_addresses(TABLE6) == [("::", 3000), ("::1", 3001)]


def test_nothing_is_read_of_what_is_not_there() -> None:
    assert sockets.read_proc_net(0, "tcp") == ""
    assert sockets.listening_addresses("") == []


@pytest.mark.parametrize(("family", "loopback"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_this_process_own_sockets_are_found(family: socket.AddressFamily, loopback: str) -> None:
    with socket.socket(family) as server:
        try:
            server.bind((loopback, 0))
        except OSError:
            pytest.skip("this machine has no such address")
        server.listen()
        port = server.getsockname()[1]
        table = "\n".join(sockets.read_proc_net(os.getpid(), name) for name in ("tcp", "tcp6"))
        assert (loopback, port) in sockets.listening_addresses(table)
