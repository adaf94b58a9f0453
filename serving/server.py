"""The server: it puts models, batcher, HTTP and gRPC together, and runs them until a signal ends it."""

import asyncio
import logging
import os
import resource
import signal
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from textgate.components.contracts import InputError
from textgate.components.storage import CHAMPION, ModelRef, Registry
from textgate.serving.app import Application
from textgate.serving.batching import Batcher
from textgate.serving.endpoint import Endpoint, RequestLimits
from textgate.serving.feedback import FeedbackLog
from textgate.serving.grpc_server import GrpcService, start_grpc
from textgate.serving.keys import Keys
from textgate.serving.log import log_event, start_log
from textgate.serving.metrics import Metrics
from textgate.serving.protocol import Connections
from textgate.serving.repository import Repository, TrafficSplit
from textgate.serving.routes import all_routes

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_BACKLOG = 2048
"""Number of connections that may wait to be accepted."""
_OTLP_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@dataclass(frozen=True)
class ServerSettings:
    """Settings of ``textgate serve``."""

    targets: Sequence[ModelRef]
    """Models to serve; if empty, every model that has a champion."""
    workspace: Path
    """Folder for downloaded bundles."""
    host: str = "127.0.0.1"
    port: int = 8080
    """HTTP port; 0 picks a free one."""
    grpc_port: int = 8081
    """gRPC port; 0 picks a free one."""
    threads: int = 0
    """Number of threads that predict; 0 means one for each core that the process may use."""
    limits: RequestLimits = field(default_factory=RequestLimits)
    poll_seconds: float = 5.0
    """Seconds between two looks at the channels of the registry."""
    traffic: TrafficSplit = field(default_factory=TrafficSplit)
    keys: Path | None = None
    """File of API keys."""
    certificate: Path | None = None
    """TLS certificate chain, PEM."""
    private_key: Path | None = None
    """Private key of the certificate, PEM."""
    log_predictions: float = 0.0
    """Share of the requests, 0 to 1, whose texts and predictions are written to the store."""
    drain_seconds: float = 20.0
    """Seconds to finish running requests after a signal."""


@dataclass(frozen=True)
class _Tls:
    """TLS configuration for HTTP and for gRPC."""

    context: ssl.SSLContext
    pem: tuple[bytes, bytes]
    """Private key and certificate chain."""


def serve(settings: ServerSettings, registry: Registry) -> None:
    """Serve until SIGTERM or SIGINT, then finish the running requests.

    Raises:
        InputError: If a model cannot be served, or the address, the keys or the certificate cannot be used.
    """
    # Each thread tokenizes its own batch; the tokenizers' own thread pool would compete for the cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    keys = Keys.read(settings.keys) if settings.keys else None
    if keys is None and settings.host not in _LOOPBACK:
        raise InputError(
            f"{settings.host} can be reached from other machines, so API keys are required: textgate keys new NAME, "
            "and --keys FILE"
        )
    tls = _load_tls(settings)
    start_log()
    _raise_connection_limit()
    uvloop.run(_serve(settings, registry, keys, tls))


async def _serve(settings: ServerSettings, registry: Registry, keys: Keys | None, tls: _Tls | None) -> None:
    metrics, limits = Metrics(), settings.limits
    threads = settings.threads or len(os.sched_getaffinity(0))
    repository = Repository(registry, settings.workspace, metrics, threads, settings.traffic)
    listening = _listen(settings.host, settings.port)
    for target in settings.targets or _champions(registry):
        await asyncio.to_thread(repository.load, target)
    batcher = Batcher(threads, limits.deadline_seconds / 2, metrics)
    feedback_log = FeedbackLog(registry.store, settings.log_predictions)
    endpoint = Endpoint(repository, batcher, limits, metrics, feedback_log)
    tracing = _start_tracing()
    application = Application(all_routes(endpoint), keys, limits.max_body_bytes, metrics, tracing)
    connections = Connections(application)
    grpc_server, grpc_port = await start_grpc(
        GrpcService(endpoint, keys, tracing),
        settings.host,
        settings.grpc_port,
        max_message_bytes=limits.max_body_bytes,
        tls=tls.pem if tls else None,
    )
    stop = _stop_on_signal()
    server = await asyncio.get_running_loop().create_server(
        connections.connect, sock=listening, ssl=tls.context if tls else None, backlog=_BACKLOG
    )
    log_event(
        "ready",
        http=f"{'https' if tls else 'http'}://{settings.host}:{listening.getsockname()[1]}",
        grpc=f"{settings.host}:{grpc_port}",
        threads=batcher.threads,
    )
    polling = asyncio.create_task(_poll(repository, settings))
    await stop.wait()
    log_event("draining")
    server.close()
    polling.cancel()
    await asyncio.gather(connections.drain(settings.drain_seconds), grpc_server.stop(settings.drain_seconds))
    await asyncio.to_thread(batcher.close)
    await asyncio.to_thread(feedback_log.close)
    if tracing:
        tracing.close()
    log_event("stopped")


def _stop_on_signal() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets; a second one ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(sign: signal.Signals) -> None:
        loop.remove_signal_handler(sign)
        stop.set()

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, on_signal, sign)
    return stop


def _start_tracing() -> "Tracing | None":
    """Start tracing if OpenTelemetry's environment variables name a collector; only then is it imported."""
    if not any(os.environ.get(name) for name in _OTLP_VARIABLES):
        return None
    from textgate.serving.tracing import Tracing

    return Tracing()


def _champions(registry: Registry) -> list[ModelRef]:
    champions = [ModelRef(model) for model, channels in registry.models().items() if CHAMPION in channels]
    if not champions:
        raise InputError("there is no model to serve yet: textgate run quickstart")
    return champions


def _load_tls(settings: ServerSettings) -> _Tls | None:
    if settings.certificate is None and settings.private_key is None:
        return None
    if settings.certificate is None or settings.private_key is None:
        raise InputError("TLS needs a certificate and its private key: --tls-cert FILE --tls-key FILE")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate, settings.private_key)
    except OSError as error:
        raise InputError(
            f"{settings.certificate} and {settings.private_key} are not a certificate and its private key in PEM "
            f"({error})"
        ) from error
    return _Tls(context, (settings.private_key.read_bytes(), settings.certificate.read_bytes()))


async def _poll(repository: Repository, settings: ServerSettings) -> None:
    """Update the served models every ``poll_seconds``."""
    while True:
        await asyncio.sleep(settings.poll_seconds)
        try:
            await asyncio.to_thread(repository.update)
            if not settings.targets:
                await asyncio.to_thread(repository.load_new_models)
        except InputError:
            pass  # the store does not answer, which update has logged
        except Exception as error:  # the served models go on
            log_event("the registry could not be polled", logging.ERROR, error)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise InputError(
            f"the server cannot listen on {host}:{port} ({error}): choose another --host or --port"
        ) from error
    return listening


def _raise_connection_limit() -> None:
    """Allow as many open connections as the system permits this process."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
