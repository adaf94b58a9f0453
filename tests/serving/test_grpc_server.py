"""What the gRPC server offers besides the Open Inference Protocol: health, reflection, keepalive, limits, TLS, drain.

Each test starts a server of its own on an endpoint without models, in the test's process.
"""

import asyncio
import functools
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from serving.fake_endpoint import fake_endpoint
from serving.hostile.grpc_frames import PING, Connection, call, frame, header_block, headers_frames

from textgate.serving import grpc_calls, grpc_health, grpc_server
from textgate.serving import open_inference_pb2 as pb
from textgate.serving.certificate import CertificateFiles
from textgate.serving.errors import RequestError
from textgate.serving.grpc_server import GrpcServer, start_grpc
from textgate.serving.keys import KeyHolder, Keys, Role, new_key

INFER = "/inference.GRPCInferenceService/ModelInfer"
TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}
REQUEST = pb.ModelInferRequest(model_name="small", inputs=[TENSOR]).SerializeToString()
SERVICE = "inference.GRPCInferenceService"
OK, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 0, 4, 8
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def in_event_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine."""

    @functools.wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        asyncio.run(test(*arguments, **options))

    return run


@asynccontextmanager
async def running(endpoint: Any = None, **options: Any) -> AsyncIterator[GrpcServer]:
    server = await start_grpc(endpoint or fake_endpoint(), "127.0.0.1", 0, max_message_bytes=2**20, **options)
    try:
        yield server
    finally:
        await server.stop(0)


@asynccontextmanager
async def connected(server: GrpcServer, **options: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{server.port}", options=[(f"grpc.{name}", value) for name, value in options.items()]
    ) as channel:
        yield channel


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """Return the status of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


def new_keys(role: Role) -> tuple[str, Keys]:
    """Return a key and a server's keys with only that."""
    key, line = new_key("somebody", role)
    return key, Keys([KeyHolder("somebody", role, bytes.fromhex(line.split()[-1]))])


def check(channel: grpc.aio.Channel, service: str = "") -> Awaitable[health_pb2.HealthCheckResponse]:
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=30)  # type: ignore[no-any-return]


@in_event_loop
async def test_health_is_that_of_the_endpoint_and_of_each_model() -> None:
    endpoint = fake_endpoint(ready=False)
    async with running(endpoint) as server, connected(server) as channel:
        assert (await check(channel)).status == NOT_SERVING
        endpoint.ready, endpoint.repository.models = True, {"small": object()}
        for service in ("", SERVICE, "small"):
            assert (await check(channel, service)).status == SERVING
        assert await code_of(check(channel, "unknown")) is grpc.StatusCode.NOT_FOUND


@in_event_loop
async def test_a_watcher_sees_a_model_arrive_and_the_server_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_health, "POLL_SECONDS", 0.01)
    endpoint = fake_endpoint()
    async with running(endpoint) as server, connected(server) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="small"), timeout=30)
        other = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="small"), timeout=30)
        assert [(await stream.read()).status for stream in (watch, other)] == [SERVICE_UNKNOWN] * 2
        # One watcher that leaves does not end the others.
        other.cancel()
        endpoint.repository.models = {"small": object()}
        assert (await watch.read()).status == SERVING
        server.start_draining()
        assert (await watch.read()).status == NOT_SERVING
        # Calls are still answered.
        assert (await check(channel)).status == NOT_SERVING
        stopping = asyncio.create_task(server.stop(30))
        assert await watch.read() is grpc.aio.EOF
        assert await watch.code() is grpc.StatusCode.OK
        await stopping


@in_event_loop
async def test_a_watcher_that_came_before_the_drain_is_told_when_the_server_stops_at_once() -> None:
    async with running() as server, connected(server) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert (await watch.read()).status == SERVING
        stopping = asyncio.create_task(server.stop(30))
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        await stopping


@in_event_loop
async def test_streams_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_health, "MAX_STREAMS", 2)
    async with running() as server, connected(server) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        streams = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=30) for _ in range(2)]
        for stream in streams:
            await stream.read()
        assert await code_of(stub.Watch(health_pb2.HealthCheckRequest(), timeout=30).read()) is (
            grpc.StatusCode.RESOURCE_EXHAUSTED
        )
        assert (await check(channel)).status == SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@in_event_loop
async def test_reflection_describes_the_services_to_who_has_a_key(version: str) -> None:
    key, keys = new_keys("user")
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    async with running(keys=keys) as server, connected(server) as channel:
        reflect = channel.stream_stream(
            path,
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        assert await code_of(reflect(iter(requests), timeout=30).read()) is grpc.StatusCode.UNAUTHENTICATED
        requests.append(reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE))
        metadata = [("authorization", f"Bearer {key}")]
        listed, described = [response async for response in reflect(iter(requests), metadata=metadata, timeout=30)]
        names = {service.name for service in listed.list_services_response.service}
        assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        (encoded,) = described.file_descriptor_response.file_descriptor_proto
        assert b"ModelStatistics" in encoded


def test_a_reflection_client_finds_the_messages() -> None:
    async def start() -> tuple[set[str], list[str]]:
        async with running() as server:
            return await asyncio.to_thread(describe, server.port)

    def describe(port: int) -> tuple[set[str], list[str]]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            service = DescriptorPool(database).FindServiceByName(SERVICE)
            return set(service.methods_by_name), list(database.get_services())

    methods, services = asyncio.run(start())
    assert {"ModelInfer", "ModelConfig", "RepositoryIndex"} <= methods
    assert SERVICE in services


@in_event_loop
async def test_pings_of_an_idle_connection_each_second_are_answered_and_floods_are_cut_off() -> None:
    async with running() as server:
        slow, fast = [await asyncio.to_thread(Connection(f"127.0.0.1:{server.port}").open) for _ in range(2)]
        # The first comes early, as jitter would make it, which is allowed twice.
        for expected in range(1, 5):
            slow.send(frame(PING, 0, 0, b"idle    "))
            await asyncio.to_thread(slow.read_until, lambda: slow.pongs >= expected)  # noqa: B023 (awaited at once)
            assert slow.goaway is None
            await asyncio.sleep(1.02)
        fast.send(frame(PING, 0, 0, b"flood   ") * 10)
        await asyncio.to_thread(fast.read_until, lambda: False)
        assert (fast.closed, fast.goaway) == (True, 11)
        slow.send(call())
        await asyncio.to_thread(slow.wait_for_stream)
        assert slow.statuses == {1: OK}


@in_event_loop
async def test_a_message_that_does_not_arrive_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_calls, "READ_SECONDS", 0.1)
    async with running() as server:
        connection = await asyncio.to_thread(Connection(f"127.0.0.1:{server.port}").open)
        connection.send(headers_frames(header_block()))
        connection.send(headers_frames(header_block(), 3) + frame(0, 0, 3, b"\0\0\0\1\0some"))
        for stream in (1, 3):
            await asyncio.to_thread(connection.wait_for_stream, stream)
        assert connection.statuses == {1: DEADLINE_EXCEEDED, 3: DEADLINE_EXCEEDED}


@in_event_loop
async def test_a_slow_message_does_not_stop_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While all places are taken by messages that do not arrive, others wait until those are given up."""
    monkeypatch.setattr(grpc_calls, "MAX_READS", 1)
    monkeypatch.setattr(grpc_calls, "READ_SECONDS", 0.3)
    async with running() as server, connected(server) as channel:
        connection = await asyncio.to_thread(Connection(f"127.0.0.1:{server.port}").open)
        connection.send(headers_frames(header_block()) + frame(PING, 0, 0, b"received"))
        await asyncio.to_thread(connection.read_until, lambda: connection.pongs > 0)
        results = await asyncio.gather(*[check(channel) for _ in range(3)], return_exceptions=True)
        await asyncio.to_thread(connection.wait_for_stream)
        assert connection.statuses == {1: DEADLINE_EXCEEDED}
        assert (await check(channel)).status == SERVING
        assert all(isinstance(result, grpc.aio.AioRpcError) or result.status == SERVING for result in results)


@in_event_loop
async def test_a_key_is_checked_before_the_message_is_read() -> None:
    _, keys = new_keys("user")
    async with running(keys=keys) as server:
        connection = await asyncio.to_thread(Connection(f"127.0.0.1:{server.port}").open)
        connection.send(headers_frames(header_block(INFER)))
        await asyncio.to_thread(connection.wait_for_stream)
        assert connection.statuses == {1: 16}


@in_event_loop
async def test_calls_are_limited_but_health_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_calls, "MAX_CALLS", 2)
    waiting, release = asyncio.Semaphore(0), asyncio.Event()

    async def classify(*_: object) -> None:
        waiting.release()
        await release.wait()
        raise RequestError(422, "answered")

    async with running(fake_endpoint(classify=classify)) as server, connected(server) as channel:
        infer = channel.unary_unary(INFER)
        calls = [asyncio.ensure_future(infer(REQUEST, timeout=30)) for _ in range(2)]
        for _ in calls:
            await waiting.acquire()
        assert await code_of(infer(REQUEST, timeout=30)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await check(channel)).status == SERVING
        release.set()
        assert [await code_of(call) for call in calls] == [grpc.StatusCode.INVALID_ARGUMENT] * 2
        assert await code_of(infer(REQUEST, timeout=30)) is grpc.StatusCode.INVALID_ARGUMENT


@in_event_loop
async def test_a_cancelled_call_cancels_its_prediction_and_is_counted() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def classify(*_: object) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    endpoint = fake_endpoint(classify=classify)
    async with running(endpoint) as server, connected(server) as channel:
        infer = channel.unary_unary(INFER)(REQUEST, timeout=30)
        await started.wait()
        infer.cancel()
        await cancelled.wait()
        assert (await check(channel)).status == SERVING
    assert 'route="grpc ModelInfer",status="499"' in endpoint.metrics.page().decode()


@pytest.mark.parametrize("deadline", [None, 0.05, 3600.0])
@in_event_loop
async def test_the_deadline_of_the_client_is_passed_on(deadline: float | None) -> None:
    seen: list[float | None] = []

    async def classify(*arguments: Any) -> None:
        seen.append(arguments[-1])
        raise RequestError(422, "answered")

    async with running(fake_endpoint(classify=classify)) as server, connected(server) as channel:
        await code_of(channel.unary_unary(INFER)(REQUEST, timeout=deadline))
    if seen:  # a short deadline may pass earlier
        # gRPC rounds a long timeout up to three digits: 3,600 s and a millisecond are sent as 3,610 s.
        assert seen[0] is None if deadline is None else 0 <= seen[0] < 1.01 * deadline + 1


class PanicError(BaseException):
    """As PyO3's PanicException."""


@pytest.mark.parametrize("failure", [PanicError("a secret text"), RuntimeError("a secret text")])
@in_event_loop
async def test_a_failure_of_any_kind_ends_its_call_only(failure: BaseException) -> None:
    async def classify(*_: object) -> None:
        raise failure

    async with running(fake_endpoint(classify=classify)) as server, connected(server) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(INFER)(REQUEST, timeout=30)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in caught.value.details()
        assert (await check(channel)).status == SERVING


@in_event_loop
async def test_metadata_is_limited_before_the_client_acknowledges_the_limit() -> None:
    async with running() as server:
        connection = Connection(f"127.0.0.1:{server.port}", acknowledge=False)
        await asyncio.to_thread(connection.open)
        connection.send(call(extra=[("x", "y" * 17_000)]))
        connection.send(call(stream=3, extra=[(f"x{index}", "") for index in range(600)]))
        for stream in (1, 3):
            await asyncio.to_thread(connection.wait_for_stream, stream)
        assert connection.statuses == {1: RESOURCE_EXHAUSTED, 3: RESOURCE_EXHAUSTED}


@in_event_loop
async def test_connections_are_limited_and_silent_ones_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "MAX_CONNECTIONS", 2)
    monkeypatch.setitem(grpc_server._OPTIONS, "grpc.http2.settings_timeout", 1_500)
    async with running() as server:
        address = f"127.0.0.1:{server.port}"
        silent = Connection(address)
        first, second = Connection(address), Connection(address)
        await asyncio.to_thread(first.open)
        await asyncio.to_thread(second.read_until, lambda: False)
        assert second.closed
        await asyncio.to_thread(silent.read_until, lambda: False)
        # The server closes a connection before it counts one less.
        deadline = time.monotonic() + 10
        while (third := await asyncio.to_thread(Connection(address).open)).closed:
            assert time.monotonic() < deadline, "no further connection is accepted"
        third.send(call())
        await asyncio.to_thread(third.wait_for_stream)
        assert third.statuses == {1: OK}


@pytest.mark.parametrize("name", ["Load", "Unload"])
@in_event_loop
async def test_parameters_that_would_be_ignored_are_rejected(name: str) -> None:
    changed: list[str] = []

    async def change(model: str) -> None:
        changed.append(model)

    key, keys = new_keys("admin")
    endpoint = fake_endpoint(load=change, unload=change)
    request = getattr(pb, f"RepositoryModel{name}Request")(model_name="small")
    async with running(endpoint, keys=keys) as server, connected(server) as channel:
        method = channel.unary_unary(f"/{SERVICE}/RepositoryModel{name}")
        metadata = [("authorization", f"Bearer {key}")]
        # tritonclient always sends this one.
        request.parameters["unload_dependents"].bool_param = False
        await method(request.SerializeToString(), metadata=metadata, timeout=30)
        request.parameters["config"].string_param = "{}"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(request.SerializeToString(), metadata=metadata, timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "'config'" in caught.value.details()
    assert changed == ["small"]


def certificate(folder: Path, name: str) -> CertificateFiles:
    """Make a self-signed certificate."""
    files = CertificateFiles(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(files.private_key), "-out", str(files.chain)),
        ],
        check=True,
        capture_output=True,
    )
    return files


@in_event_loop
async def test_a_new_certificate_is_used_for_new_connections(tmp_path: Path) -> None:
    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    served = CertificateFiles(tmp_path / "served.pem", tmp_path / "served.key")

    def install(files: CertificateFiles) -> None:
        served.chain.write_bytes(files.chain.read_bytes())
        served.private_key.write_bytes(files.private_key.read_bytes())

    def trusting(files: CertificateFiles) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(files.chain.read_bytes())
        return grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials)

    install(old)
    async with running(certificate=served) as server, trusting(old) as kept:
        assert (await check(kept)).status == SERVING
        install(new)
        server.reload_certificate()
        async with trusting(new) as channel:
            assert (await check(channel)).status == SERVING
        async with trusting(old) as channel:
            assert await code_of(check(channel)) is grpc.StatusCode.UNAVAILABLE
        # Connections that are open stay open.
        assert (await check(kept)).status == SERVING
        # A pair that does not fit leaves the last one in use.
        served.private_key.write_bytes(old.private_key.read_bytes())
        server.reload_certificate()
        async with trusting(new) as channel:
            assert (await check(channel)).status == SERVING
