"""The server: models, batcher, HTTP and gRPC put together, and its life from the first check to the last answer."""

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
from textgate.serving.app import Http
from textgate.serving.batching import Batcher
from textgate.serving.endpoint import Endpoint, Limits
from textgate.serving.feedback import Journal
from textgate.serving.grpc_server import start_grpc
from textgate.serving.keys import Keys
from textgate.serving.log import log_event, start_log
from textgate.serving.metrics import Metrics
from textgate.serving.oip import OipRoutes
from textgate.serving.openapi import openapi_route
from textgate.serving.protocol import Connections
from textgate.serving.repository import Repository
from textgate.serving.routes import PlainRoutes

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_BACKLOG = 2048
"""Connections that may wait to be accepted."""
_COLLECTOR = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_Tls = tuple[ssl.SSLContext, tuple[bytes, bytes]]
"""For HTTP; for gRPC the private key and its certificate chain, in PEM."""


@dataclass(frozen=True)
class Settings:
    """What ``textgate serve`` is told."""

    targets: Sequence[ModelRef]
    """None: every model that has a champion."""
    home: Path
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 8081
    threads: int = 0
    """That predict; 0: one for each core this process may use."""
    limits: Limits = field(default_factory=Limits)
    poll_seconds: float = 5.0
    challenger_share: float = 0.0
    shadow_share: float = 0.0
    keys: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    log_predictions: float = 0.0
    drain_seconds: float = 20.0


def serve(settings: Settings, registry: Registry) -> None:
    """Answer until SIGTERM or SIGINT, then finish what was asked.

    Raises:
        InputError: a model cannot be served, or the address, the keys or the certificate cannot be used.
    """
    # Each thread tokenizes its own batch; a pool beside them would only take their cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    keys = Keys.read(settings.keys) if settings.keys else None
    if keys is None and settings.host not in _LOOPBACK:
        raise InputError(
            f"{settings.host} can be reached from elsewhere, so it is served with keys only: textgate keys new NAME, "
            "and --keys FILE"
        )
    tls = _tls(settings)
    start_log()
    _allow_connections()
    uvloop.run(_serve(settings, registry, keys, tls))


async def _serve(settings: Settings, registry: Registry, keys: Keys | None, tls: _Tls | None) -> None:
    metrics, limits = Metrics(), settings.limits
    threads = settings.threads or len(os.sched_getaffinity(0))
    repository = Repository(
        registry, settings.home, metrics, threads, settings.challenger_share, settings.shadow_share > 0
    )
    listening = _listen(settings.host, settings.port)
    for target in settings.targets or _champions(registry):
        await asyncio.to_thread(repository.load, target)
    batcher = Batcher(threads, limits.deadline / 2, metrics)
    journal = Journal(registry.store, settings.log_predictions)
    endpoint = Endpoint(repository, batcher, limits, metrics, journal, settings.shadow_share)
    tracing = _tracing()
    routes = [*PlainRoutes(endpoint).table(), *OipRoutes(endpoint).table(), openapi_route()]
    connections = Connections(Http(routes, keys, limits.body, metrics, tracing))
    pem = tls[1] if tls else None
    grpc_server, grpc_port = await start_grpc(
        endpoint, settings.host, settings.grpc_port, keys, pem, limits.body, tracing
    )
    asked_to_end = _signals()
    server = await asyncio.get_running_loop().create_server(
        connections.connect, sock=listening, ssl=tls[0] if tls else None, backlog=_BACKLOG
    )
    log_event(
        "ready",
        http=f"{'https' if tls else 'http'}://{settings.host}:{listening.getsockname()[1]}",
        grpc=f"{settings.host}:{grpc_port}",
        threads=batcher.threads,
    )
    following = asyncio.create_task(_follow(repository, settings))
    await asked_to_end.wait()
    log_event("draining")
    server.close()
    following.cancel()
    await asyncio.gather(connections.drain(settings.drain_seconds), grpc_server.stop(settings.drain_seconds))
    await asyncio.to_thread(batcher.close)
    await asyncio.to_thread(journal.close)
    if tracing:
        tracing.close()
    log_event("stopped")


def _signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def ask(sign: signal.Signals) -> None:
        loop.remove_signal_handler(sign)
        asked.set()

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, ask, sign)
    return asked


def _tracing() -> "Tracing | None":
    """When OpenTelemetry's variables name a collector; it is imported only then."""
    if not any(os.environ.get(name) for name in _COLLECTOR):
        return None
    from textgate.serving.tracing import Tracing

    return Tracing()


def _champions(registry: Registry) -> list[ModelRef]:
    found = [ModelRef(model) for model, channels in registry.models().items() if CHAMPION in channels]
    if not found:
        raise InputError("there is no model to serve yet: textgate run quickstart")
    return found


def _tls(settings: Settings) -> _Tls | None:
    if settings.certificate is None and settings.private_key is None:
        return None
    if settings.certificate is None or settings.private_key is None:
        raise InputError("TLS takes a certificate and its key: --tls-cert FILE --tls-key FILE")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate, settings.private_key)
    except OSError as error:
        raise InputError(
            f"{settings.certificate} and {settings.private_key} are no certificate and its key, in PEM ({error})"
        ) from error
    return context, (settings.private_key.read_bytes(), settings.certificate.read_bytes())


async def _follow(repository: Repository, settings: Settings) -> None:
    while True:
        await asyncio.sleep(settings.poll_seconds)
        try:
            await asyncio.to_thread(repository.follow)
            if not settings.targets:
                await asyncio.to_thread(repository.take_in)
        except InputError:
            pass  # the store is away, which following has told
        except Exception as error:  # what answers now goes on answering
            log_event("following failed", logging.ERROR, error)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be listened on ({error}): choose another --host or --port") from error
    return listening


def _allow_connections() -> None:
    """As many open connections as the machine lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
