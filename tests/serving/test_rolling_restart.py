"""Servers are stopped and replaced under load, as a Deployment does, and no request fails."""

import asyncio
import itertools
import json
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import requests
import uvloop
from serving.server_process import STOP_SECONDS, ServerProcess, promote_in_new_bucket, start_server

from textgate.serving import open_inference_pb2 as pb

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tests/clients"
PYTHON = ROOT / ".venv/clients/bin/python"
REQUESTS = {
    "http.client": 9_000,
    "requests": 8_000,
    "tritonclient over HTTP": 8_000,
    "tritonclient over gRPC": 8_000,
    "HTTP_2": 8_500,
    "HTTP_1_1": 8_500,
}
"""Requests by client: libraries of Python, and versions of the JDK's client."""
REPLICAS = 2
RESTARTS = 4
"""Least number of restarts while the requests are sent."""
CLIENT_SECONDS = 400.0
"""Time for all requests; they take less than two minutes."""
ENDPOINT_SECONDS = 1.0
"""Time for which new connections go to a server that has received SIGTERM: a cluster removes it no sooner."""


@dataclass
class Service:
    """Port whose new connections go to the backends in turn; those that exist stay where they are.

    A Service of Kubernetes does the same: kube-proxy knows connections, not requests.
    """

    backends: list[str] = field(default_factory=list)
    """Addresses for new connections."""
    address: str = ""

    @contextmanager
    def listening(self) -> Iterator["Service"]:
        """Accept connections in a thread while the body runs."""
        started = threading.Event()
        loop = uvloop.new_event_loop()
        turns = itertools.count()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            host, port = self.backends[next(turns) % len(self.backends)].split(":")
            with suppress(OSError):
                backend_reader, backend_writer = await asyncio.open_connection(host, int(port))
                await asyncio.gather(_copy(reader, backend_writer), _copy(backend_reader, writer))
            writer.close()

        async def listen() -> None:
            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            started.set()

        loop.create_task(listen())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        assert started.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes, and their end."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_fails_while_servers_are_replaced(
    store_environment: dict[str, str], other_bundle: Path, tmp_path: Path
) -> None:
    if not PYTHON.exists():
        pytest.fail("the clients are not installed: make test-slow installs them", pytrace=False)
    if shutil.which("java") is None:
        pytest.skip("the JDK's client needs java")
    bucket = f"rolling-{uuid.uuid4().hex[:12]}"
    promote_in_new_bucket(store_environment, bucket, other_bundle)
    events: list[tuple[float, str]] = []
    names = itertools.count()

    def start(stack: ExitStack) -> ServerProcess:
        workspace = tmp_path / f"server-{next(names)}"
        return stack.enter_context(
            start_server(store_environment, bucket, workspace, other_bundle, "--linger-seconds", "5")
        )

    with ExitStack() as stack, Service().listening() as http, Service().listening() as grpc:
        replicas = [start(stack) for _ in range(REPLICAS)]
        set_backends(http, grpc, replicas)
        clients = {
            name: subprocess.Popen(
                client_command(name, http.address, grpc.address, count), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for name, count in REQUESTS.items()
        }
        stack.callback(lambda: [client.kill() for client in clients.values()])
        restarts = 0
        end = time.monotonic() + CLIENT_SECONDS
        while running := [name for name, client in clients.items() if client.poll() is None]:
            assert time.monotonic() < end, f"{running} are still waiting for answers after {restarts} restarts"
            replicas.append(start(stack))
            set_backends(http, grpc, replicas)
            old = replicas.pop(0)
            events.append((time.time(), f"restart {restarts}: SIGTERM"))
            old.process.send_signal(signal.SIGTERM)
            wait_until(lambda old=old: requests.get(f"{old.http}/v2/health/ready", timeout=5).status_code == 503)
            time.sleep(ENDPOINT_SECONDS)
            set_backends(http, grpc, replicas)
            events.append((time.time(), f"restart {restarts}: no new connections"))
            old.wait_for("draining")
            events.append((time.time(), f"restart {restarts}: draining"))
            assert old.process.wait(STOP_SECONDS) == 0
            events.append((time.time(), f"restart {restarts}: exited"))
            restarts += 1
        results = {name: client_result(client) for name, client in clients.items()}
    print({name: result["sent"] for name, result in results.items()}, restarts, events)
    assert {name: failures_by_event(result["failures"], events) for name, result in results.items()} == {
        name: [] for name in REQUESTS
    }
    assert {name: result["sent"] for name, result in results.items()} == REQUESTS
    assert restarts >= RESTARTS


def set_backends(http: Service, grpc: Service, replicas: list[ServerProcess]) -> None:
    http.backends = [urlsplit(replica.http).netloc for replica in replicas]
    grpc.backends = [replica.grpc for replica in replicas]


def client_command(name: str, http_address: str, grpc_address: str, count: int) -> list[str | Path]:
    if name.startswith("HTTP_"):
        return ["java", "-Xmx128m", CLIENTS / "RollingClient.java", name, http_address, "small", "good", str(count)]
    return [PYTHON, CLIENTS / "rolling_client.py", name, http_address, grpc_address, "small", "good", str(count)]


def client_result(client: "subprocess.Popen[bytes]") -> dict[str, Any]:
    output, errors = client.communicate()
    assert client.returncode == 0, errors.decode()
    return json.loads(output)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most a few seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline


def failures_by_event(failures: list[dict[str, Any]], events: list[tuple[float, str]]) -> list[str]:
    """Return each failure with the time since the last event before its end."""
    described = []
    for failure in failures:
        end = failure["time"] + failure["seconds"]
        when, event = max(((when, event) for when, event in events if when <= end), default=(end, "before"))
        described.append(f"{end - when:.3f} s after {event}: {failure['failure']} ({failure['seconds']:.3f} s)")
    return described


def test_grpc_calls_are_answered_until_clients_are_told_to_reconnect(
    store_environment: dict[str, str], other_bundle: Path, tmp_path: Path
) -> None:
    bucket = f"stopped-{uuid.uuid4().hex[:12]}"
    promote_in_new_bucket(store_environment, bucket, other_bundle)
    request = pb.ModelReadyRequest(name="small")
    codes: list[grpc.StatusCode] = []

    def call_until_it_fails(called: threading.Semaphore) -> None:
        # Otherwise the channels of a process share one connection.
        with grpc.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            method = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelReady",
                request_serializer=pb.ModelReadyRequest.SerializeToString,
                response_deserializer=pb.ModelReadyResponse.FromString,
            )
            try:
                while True:
                    method(request, timeout=30)
                    called.release()
            except grpc.RpcError as error:
                codes.append(error.code())

    with start_server(store_environment, bucket, tmp_path, other_bundle) as server:
        called = [threading.Semaphore(0) for _ in range(16)]
        threads = [threading.Thread(target=call_until_it_fails, args=(one,)) for one in called]
        for thread in threads:
            thread.start()
        for one in called:
            assert one.acquire(timeout=30)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
    # The port is closed when they reconnect; a call on a connection that exists would be CANCELLED.
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 16
