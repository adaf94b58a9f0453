"""HTTP/1.1 and HTTP/2 on one port, with or without TLS, by granian inside the running event loop.

granian (github.com/emmett-framework/granian) parses, frames and encrypts in Rust (hyper, rustls), outside the
interpreter's lock. docs/architecture.md has the measurements behind the choice.
"""

import asyncio
import os
import socket

from granian.constants import SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from textgate.components.contracts import InputError
from textgate.serving.certificate import CertificateFiles
from textgate.serving.idle_connections import IdleConnections
from textgate.serving.rsgi import RsgiApplication

_HEAD_BYTES = 64 * 1024
"""Maximum size of request line and headers."""
_IDLE_SECONDS = 75
"""Time for the headers of a connection's first or next request: longer than the idle time of common load balancers,
which must close an idle connection first."""
_MAX_CONNECTIONS = 8_192
"""Connections that are served at the same time; others wait to be accepted."""
_BACKLOG = 2_048
"""Connections that may wait to be accepted."""
_MAX_STREAMS = 128
"""Requests of one HTTP/2 connection at the same time."""
_PING_MILLISECONDS = 30_000
"""Interval of HTTP/2 pings, which find connections whose client is gone."""
_LOG = {"incremental": True, "handlers": {}, "loggers": {"_granian": {"propagate": True}}}
"""Keeps granian from adding log handlers of its own."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; it can be connected to, but nothing is accepted yet.

    Raises:
        InputError: If the address is not one of this machine, or is taken.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Two servers can bind the same address, but only one can listen.
        listening.listen(_BACKLOG)
    except OSError as error:
        raise InputError(
            f"the server cannot listen on {host}:{port} ({error}): choose another --host or --port"
        ) from error
    return listening


class HttpServer:
    """HTTP server on a listening socket."""

    def __init__(
        self, application: RsgiApplication, listening: socket.socket, certificate: CertificateFiles | None
    ) -> None:
        self._application, self._listening, self.certificate = application, listening, certificate
        self._start()
        connections = IdleConnections(listening.getsockname()[1], application.requests, _IDLE_SECONDS)
        self._watching = asyncio.create_task(connections.watch())

    def reload_certificate(self) -> None:
        """Use the present content of the certificate's files for new connections; running requests finish."""
        self._server.stop()  # type: ignore[no-untyped-call]
        self._start()

    async def stop(self, seconds: float) -> None:
        """Close idle connections, and the others when their requests are answered or after ``seconds``."""
        self._watching.cancel()
        self._listening.close()
        self._server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait([self._serving], timeout=seconds)

    def _start(self) -> None:
        files = self.certificate
        self._server = _EmbeddedServer(
            self._application,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=_MAX_CONNECTIONS,
            http1_settings=HTTP1Settings(header_read_timeout=_IDLE_SECONDS * 1_000, max_buffer_size=_HEAD_BYTES),
            http2_settings=HTTP2Settings(
                max_headers_size=_HEAD_BYTES,
                max_concurrent_streams=_MAX_STREAMS,
                keep_alive_interval=_PING_MILLISECONDS,
            ),
            log_level=LogLevels.error,
            log_dictconfig=_LOG,
            ssl_cert=files.chain if files else None,
            ssl_key=files.private_key if files else None,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self._server.listening = self._listening
        self._serving = asyncio.create_task(self._server.serve())


class _EmbeddedServer(Server):
    """granian's embedded server on a socket that listens already; its own would share the port with others."""

    listening: socket.socket

    def _init_shared_socket(self) -> None:
        # granian closes its file descriptor when it stops.
        self._shd = SocketHolder(os.dup(self.listening.fileno()), False, self.backlog)  # type: ignore[assignment, call-arg]
