"""The gRPC server: limits, keepalive, TLS, health, reflection and the Open Inference Protocol on one port."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import grpc

from textgate.components.contracts import InputError
from textgate.serving.certificate import CertificateFiles
from textgate.serving.endpoint import Endpoint
from textgate.serving.grpc_calls import CallHandlers
from textgate.serving.grpc_health import HEALTH, REFLECTION_NAMES, Health, Reflection, StreamLimit
from textgate.serving.grpc_service import INFERENCE, GrpcService
from textgate.serving.keys import Keys
from textgate.serving.loading import OPEN_SECONDS

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

MAX_RPCS = 16_384
"""Calls at the same time, 12 KiB each. They include those whose message or answer is still on its way, which only the
end of their connection ends if the client does not want to receive it."""
MAX_CONNECTIONS = 8_192
HANDSHAKE_SECONDS = 10.0
"""Longest time from accepting a connection to the end of its TLS and HTTP/2 handshakes."""
METADATA_BYTES = 16 * 1024
"""Largest metadata of a call, as HPACK counts it: names, values and 32 bytes for each. Before the client acknowledges
the limit, gRPC applies one of 16 MiB, so ``_Services`` applies it too."""
_HOLD_SECONDS, _GOAWAY_SECONDS = 0.2, 0.2
"""Time to have clients that send calls one after the other wait for an answer, and time to send GOAWAY."""
_OPTIONS: dict[str, int] = {
    # Otherwise two servers could listen on one port and share the calls.
    "grpc.so_reuseport": 0,
    "grpc.max_concurrent_streams": 128,
    # A range between the two would be rejected at random.
    "grpc.max_metadata_size": METADATA_BYTES,
    "grpc.absolute_max_metadata_size": METADATA_BYTES,
    # Milliseconds for a client to acknowledge these settings, without which they do not bind it.
    "grpc.http2.settings_timeout": 5_000,
    # Keepalive as in grpc.io/docs/guides/keepalive and proposals A8 and A9 of github.com/grpc/proposal. The default
    # cuts clients that ping an idle connection more often than every two hours, or every 5 minutes during a call.
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.min_ping_interval_without_data_ms": 1_000,
    "grpc.http2.max_ping_strikes": 2,
    # Finds connections whose client is gone.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 20_000,
    # Clients reconnect without failed calls, and find pods that were added. Loading a model is the longest call.
    "grpc.max_connection_age_ms": 10 * 60_000,
    "grpc.max_connection_age_grace_ms": round(OPEN_SECONDS * 1e3),
}


class GrpcServer:
    """Running gRPC server."""

    def __init__(
        self,
        server: grpc.aio.Server,
        port: int,
        calls: CallHandlers,
        health: Health,
        certificate: "_ReloadedCertificate | None",
    ) -> None:
        self.port = port
        self._server, self._calls, self._health, self._certificate = server, calls, health, certificate

    def reload_certificate(self) -> None:
        """Use the present content of the certificate's files for new connections."""
        if self._certificate:
            self._certificate.reload()

    def start_draining(self) -> None:
        """Report NOT_SERVING to health checks; calls are still answered."""
        self._health.start_draining()

    async def stop(self, seconds: float) -> None:
        """Tell clients to reconnect elsewhere (GOAWAY), and wait up to ``seconds`` for running calls."""
        self._health.end_watches()
        # gRPC cancels calls that arrive after it began to stop, before their client has read GOAWAY. Clients that wait
        # for answers send none meanwhile, so answers are held back until GOAWAY is sent.
        async with self._calls.hold_answers():
            await asyncio.sleep(_HOLD_SECONDS)
            stopping = asyncio.create_task(self._server.stop(seconds))
            await asyncio.sleep(_GOAWAY_SECONDS)
        await stopping


async def start_grpc(
    endpoint: Endpoint,
    host: str,
    port: int,
    *,
    keys: Keys | None = None,
    tracing: "Tracing | None" = None,
    max_message_bytes: int,
    certificate: CertificateFiles | None = None,
) -> GrpcServer:
    """Start a gRPC server.

    Args:
        endpoint: Endpoint to serve.
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        keys: Accepted API keys; None allows everything that the role ``user`` may do.
        tracing: Records a span for each call.
        max_message_bytes: Largest message that is accepted, compressed or not.
        certificate: Certificate of the server; None serves without TLS.

    Raises:
        InputError: If the port is taken, the host is not an address of this machine, or the certificate does not
            belong to the key.
    """
    _silence_grpc()
    options: dict[str, int] = {
        **_OPTIONS,
        "grpc.max_receive_message_length": max_message_bytes,
        "grpc.max_allowed_incoming_connections": MAX_CONNECTIONS,
        "grpc.server_handshake_timeout_ms": round(HANDSHAKE_SECONDS * 1e3),
    }
    server = grpc.aio.server(options=list(options.items()), maximum_concurrent_rpcs=MAX_RPCS)
    calls, streams = CallHandlers(endpoint.metrics, keys, tracing), StreamLimit()
    health = Health(endpoint, INFERENCE.full_name, calls, streams)
    reflection = Reflection([INFERENCE.full_name, HEALTH.full_name], calls, streams)
    services = {
        INFERENCE.full_name: GrpcService(endpoint).handlers(calls),
        HEALTH.full_name: health.handlers(),
        **dict.fromkeys(REFLECTION_NAMES, reflection.handlers()),
    }
    server.add_generic_rpc_handlers((_Services(services),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    reloaded = _ReloadedCertificate(certificate) if certificate else None
    try:
        if reloaded is None:
            bound_port = server.add_insecure_port(address)
        else:
            bound_port = server.add_secure_port(address, reloaded.credentials())
    except RuntimeError as error:
        raise InputError(
            f"gRPC cannot listen on {address}: the port is taken, the host is not an address of this machine, "
            "or the certificate does not belong to the key"
        ) from error
    await server.start()
    return GrpcServer(server, bound_port, calls, health, reloaded)


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """Handlers of all services by the paths of their methods."""

    def __init__(self, services: Mapping[str, Mapping[str, grpc.RpcMethodHandler]]) -> None:
        self._handlers = {
            f"/{service}/{name}": handler
            for service, handlers in services.items()
            for name, handler in handlers.items()
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return the handler of a call; None if there is none."""
        if sum(32 + len(key) + len(value) for key, value in details.invocation_metadata) > METADATA_BYTES:
            return _TOO_MUCH_METADATA
        return self._handlers.get(details.method)


async def _reject_metadata(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the metadata is larger than {METADATA_BYTES} bytes")


_TOO_MUCH_METADATA = grpc.stream_stream_rpc_method_handler(_reject_metadata)


def _silence_grpc() -> None:
    """Keep gRPC's own messages about calls out of the log.

    They are not JSON, or have a traceback and the values of headers, for each call that is malformed or cancelled.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("grpc._cython.cygrpc").setLevel(logging.CRITICAL)


class _ReloadedCertificate:
    """Certificate that new connections use as it is after the last ``reload``."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._new: Any = None
        self.reload()

    def reload(self) -> None:
        """Read the files."""
        self._new = grpc.ssl_server_certificate_configuration([self._files.read()])

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a server."""
        return grpc.dynamic_ssl_server_credentials(self._take(), self._take)

    def _take(self) -> Any:
        """Return the certificate if it is new; gRPC calls this for each connection, in threads of its own."""
        new, self._new = self._new, None
        return new
