"""A client of HTTP/3, by aioquic: it trusts an authority, and connects to a gateway on loopback for a host."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset

SECONDS = 20.0


@dataclass
class Reply:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Http3Connection(QuicConnectionProtocol):
    """A connection; requests may be sent on it one after the other, or several at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = H3Connection(self._quic)
        self._replies: dict[int, Reply] = {}
        self._ends: dict[int, asyncio.Future[None]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            for end in self._ends.values():
                if not end.done():
                    end.set_exception(ConnectionError(event.reason_phrase))
        if isinstance(event, StreamReset) and event.stream_id in self._ends:
            self._ends[event.stream_id].set_exception(ConnectionError("reset"))
        for found in self._http.handle_event(event):
            reply = self._replies.get(found.stream_id) if isinstance(found, HeadersReceived | DataReceived) else None
            if reply is None:
                continue
            if isinstance(found, HeadersReceived):
                headers = {name.decode(): value.decode() for name, value in found.headers}
                reply.status = int(headers.pop(":status", reply.status))
                reply.headers.update(headers)
            elif isinstance(found, DataReceived):
                reply.body += found.data
            if found.stream_ended and not self._ends[found.stream_id].done():
                self._ends[found.stream_id].set_result(None)

    async def ask(
        self,
        host: str,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes = b"",
    ) -> Reply:
        """Send a request, and return what comes back."""
        stream = self._quic.get_next_available_stream_id()
        reply = self._replies[stream] = Reply()
        self._ends[stream] = asyncio.get_running_loop().create_future()
        pseudo = {":method": method, ":scheme": "https", ":authority": host, ":path": path}
        sent = [(name.encode(), value.encode()) for name, value in {**pseudo, **(headers or {})}.items()]
        self._http.send_headers(stream, sent, end_stream=not body)
        if body:
            self._http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self._ends[stream], SECONDS)
        return reply

    def certificate(self) -> bytes:
        """Return the certificate that this connection has got, DER."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return bytes(self._quic.tls._peer_certificate.public_bytes(Encoding.DER))


@asynccontextmanager
async def http3(port: int, host: str, ca_file: Path) -> AsyncIterator[Http3Connection]:
    """Connect for the time of an `async with`."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, server_name=host, verify_mode=ssl.CERT_REQUIRED
    )
    configuration.load_verify_locations(str(ca_file))
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Http3Connection) as found:
        assert isinstance(found, Http3Connection)
        yield found
