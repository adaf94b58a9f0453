"""The server: it puts models, batcher, HTTP and gRPC together, and runs them until a signal ends it."""

import asyncio
import gc
import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from textgate.components.contracts import InputError
from textgate.components.inference.device import Device, check_cuda
from textgate.components.storage import ModelRef, Registry
from textgate.serving.access import LOOPBACK_HOSTS
from textgate.serving.app import Application
from textgate.serving.batching import Batcher
from textgate.serving.certificate import CertificateFiles
from textgate.serving.endpoint import Endpoint, RequestLimits
from textgate.serving.feedback import MAX_SPOOL_BYTES, FeedbackLog
from textgate.serving.grpc_server import GrpcServer, start_grpc
from textgate.serving.http_server import HttpServer, listen
from textgate.serving.keys import Keys
from textgate.serving.log import log_event, start_log
from textgate.serving.metrics import Metrics
from textgate.serving.repository import Repository
from textgate.serving.routes import all_routes
from textgate.serving.rsgi import RsgiApplication
from textgate.serving.served_model import TrafficSplit
from textgate.serving.watched_files import WatchedFiles

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

_OTLP_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@dataclass(frozen=True)
class ServerSettings:
    """Settings of ``textgate serve``."""

    targets: Sequence[ModelRef]
    """Models to serve; if empty, every model that has a champion."""
    workspace: Path
    """Folder for downloaded bundles, and for feedback that the store does not have yet."""
    host: str = "127.0.0.1"
    port: int = 8080
    """HTTP port; 0 picks a free one."""
    grpc_port: int = 8081
    """gRPC port; 0 picks a free one."""
    threads: int = 0
    """Number of threads that predict; 0 means one for each core that the process may use."""
    device: Device = "cpu"
    """Device that runs ONNX graphs."""
    limits: RequestLimits = field(default_factory=RequestLimits)
    poll_seconds: float = 5.0
    """Seconds between two looks at the channels of the registry."""
    traffic: TrafficSplit = field(default_factory=TrafficSplit)
    keys: Path | None = None
    """File of API keys."""
    allowed_hosts: Sequence[str] = ()
    """Host names, besides those of loopback, under which a server without keys may be addressed."""
    certificate: Path | None = None
    """TLS certificate chain, PEM."""
    private_key: Path | None = None
    """Private key of the certificate, PEM."""
    log_predictions: float = 0.0
    """Share of the requests, 0 to 1, whose texts and predictions are written to the store."""
    max_feedback_bytes: int = MAX_SPOOL_BYTES
    """Most bytes of feedback that wait on the disk for the store."""
    linger_seconds: float = 5.0
    """Seconds after SIGTERM in which requests are still answered, and clients are told to close their connections."""
    drain_seconds: float = 20.0
    """Seconds to finish running requests after that, or after SIGINT."""


def serve(settings: ServerSettings, registry: Registry) -> None:
    """Serve until SIGTERM or SIGINT, then finish the running requests.

    Raises:
        InputError: If the address, the keys, the certificate or the device cannot be used.
    """
    if settings.device == "cuda":
        check_cuda()
    # Each thread tokenizes its own batch; the tokenizers' own thread pool would compete for the cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    keys = Keys.read(settings.keys) if settings.keys else None
    if keys is None and settings.host not in LOOPBACK_HOSTS:
        raise InputError(
            f"{settings.host} can be reached from other machines, so API keys are required: textgate keys new NAME, "
            "and --keys FILE"
        )
    certificate = _certificate(settings)
    start_log()
    _raise_connection_limit()
    uvloop.run(_serve(settings, registry, keys, certificate))


async def _serve(
    settings: ServerSettings, registry: Registry, keys: Keys | None, certificate: CertificateFiles | None
) -> None:
    metrics, limits = Metrics(), settings.limits
    threads = settings.threads or len(os.sched_getaffinity(0))
    repository = Repository(registry, settings.workspace, metrics, threads, settings.traffic, settings.device)
    listening = listen(settings.host, settings.port)
    batcher = Batcher(threads, limits.deadline_seconds / 2, metrics)
    feedback_log = FeedbackLog(
        registry.store,
        settings.workspace / "feedback" / registry.store.bucket,
        settings.log_predictions,
        disk=settings.max_feedback_bytes,
    )
    endpoint = Endpoint(repository, batcher, limits, metrics, feedback_log)
    tracing = _start_tracing()
    allowed_hosts = [*LOOPBACK_HOSTS, *settings.allowed_hosts]
    routes = all_routes(endpoint)
    application = RsgiApplication(Application(routes, keys, allowed_hosts, limits.max_body_bytes, metrics, tracing))
    signals = _catch_signals()
    http_server = HttpServer(application, listening, certificate)
    grpc_server = await start_grpc(
        endpoint,
        settings.host,
        settings.grpc_port,
        keys=keys,
        tracing=tracing,
        max_message_bytes=limits.max_body_bytes,
        certificate=certificate,
    )
    addresses = {
        "http": f"{'https' if certificate else 'http'}://{settings.host}:{listening.getsockname()[1]}",
        "grpc": f"{settings.host}:{grpc_server.port}",
    }
    log_event("listening", **addresses, threads=batcher.threads)
    # A daemon, so that a download or a bundle that hangs does not delay the end of the process.
    threading.Thread(target=_follow, args=(endpoint, settings, addresses), name="follow", daemon=True).start()
    reloading = asyncio.create_task(_reload_files(settings, keys, http_server, grpc_server))
    received = await signals.get()
    endpoint.draining = application.draining = True
    grpc_server.start_draining()
    if received == signal.SIGTERM and settings.linger_seconds:
        log_event("lingering", seconds=settings.linger_seconds)
        # Another signal ends this early.
        with suppress(TimeoutError):
            await asyncio.wait_for(signals.get(), settings.linger_seconds)
    log_event("draining")
    reloading.cancel()
    await asyncio.gather(http_server.stop(settings.drain_seconds), grpc_server.stop(settings.drain_seconds))
    await asyncio.to_thread(batcher.close)
    await asyncio.to_thread(feedback_log.close)
    if tracing:
        tracing.close()
    log_event("stopped")


def _catch_signals() -> asyncio.Queue[signal.Signals]:
    """Return a queue of received SIGINT, SIGTERM and SIGHUP; each one's second arrival ends the process at once."""
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def on_signal(sign: signal.Signals) -> None:
        loop.remove_signal_handler(sign)
        received.put_nowait(sign)

    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sign) is not signal.SIG_IGN:  # as after nohup
            loop.add_signal_handler(sign, on_signal, sign)
    return received


def _start_tracing() -> "Tracing | None":
    """Start tracing if OpenTelemetry's environment variables name a collector; only then is it imported."""
    if not any(os.environ.get(name) for name in _OTLP_VARIABLES):
        return None
    from textgate.serving.tracing import Tracing

    return Tracing()


def _certificate(settings: ServerSettings) -> CertificateFiles | None:
    if settings.certificate is None and settings.private_key is None:
        return None
    if settings.certificate is None or settings.private_key is None:
        raise InputError("TLS needs a certificate and its private key: --tls-cert FILE --tls-key FILE")
    files = CertificateFiles(settings.certificate, settings.private_key)
    files.check()
    return files


def _follow(endpoint: Endpoint, settings: ServerSettings, addresses: Mapping[str, str]) -> None:
    """Load the models, and update them every ``poll_seconds``."""
    repository, ready = endpoint.repository, False
    repository.start(settings.targets)
    # Libraries and models stay; without this, every full garbage collection would examine all their objects.
    gc.freeze()
    while True:
        if endpoint.ready != ready:
            ready = endpoint.ready
            log_event("ready" if ready else "not ready", **addresses, models=sorted(repository.models))
        time.sleep(settings.poll_seconds)
        repository.follow()


async def _reload_files(
    settings: ServerSettings, keys: Keys | None, http_server: HttpServer, grpc_server: GrpcServer
) -> None:
    """Read API keys and the certificate again when their files change; keep the last valid ones."""
    certificate = http_server.certificate
    key_file = WatchedFiles([settings.keys] if settings.keys else [])
    pem_files = WatchedFiles([certificate.chain, certificate.private_key] if certificate else [])
    while True:
        await asyncio.sleep(settings.poll_seconds)
        try:
            if settings.keys and keys and key_file.changed():
                keys.replace_with(Keys.read(settings.keys))
                log_event("keys reloaded")
            if certificate and pem_files.changed():
                await asyncio.to_thread(certificate.check)
                http_server.reload_certificate()
                grpc_server.reload_certificate()
                log_event("certificate reloaded")
        except InputError as error:
            log_event("a changed file cannot be used", logging.ERROR, reason=str(error))


def _raise_connection_limit() -> None:
    """Allow as many open connections as the system permits this process."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
