"""The gRPC server; third-party clients are in test_clients.py."""

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving.fake_endpoint import fake_endpoint
from serving.server_process import ServerProcess, start_server

from textgate.components.contracts import InputError
from textgate.components.inference import load_bundle
from textgate.components.storage import Registry
from textgate.serving import open_inference_pb2 as pb
from textgate.serving.errors import RequestError
from textgate.serving.grpc_server import start_grpc
from textgate.serving.keys import new_key
from textgate.serving.tensors import encode_bytes_tensor

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
METHODS = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
GENEROUS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Stub:
    """Client of the service on a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, name: str, request: Any, **options: Any) -> Any:
        serialize = bytes if isinstance(request, bytes) else type(request).SerializeToString
        parse = GetMessageClass(METHODS[name].output_type).FromString
        path = f"/inference.GRPCInferenceService/{name}"
        return self._channel.unary_unary(path, serialize, parse)(request, timeout=60, **options)

    def infer(self, **fields: Any) -> pb.ModelInferResponse:
        return self.call("ModelInfer", pb.ModelInferRequest(model_name="small", **fields))

    def error(self, name: str, request: Any, **options: Any) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as caught:
            self.call(name, request, **options)
        return caught.value


@pytest.fixture(scope="module")
def stub(server: ServerProcess) -> Iterator[Stub]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield Stub(channel)


def tensor(texts: Sequence[str], contents: bool = False, **fields: Any) -> dict[str, Any]:
    encoded = {"contents": {"bytes_contents": [text.encode() for text in texts]}} if contents else {}
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts)], **encoded, **fields}


@GENEROUS
@given(st.lists(TEXT, min_size=1, max_size=6))
def test_raw_and_typed_contents_are_the_predictions_of_the_bundle(
    server: ServerProcess, stub: Stub, texts: list[str]
) -> None:
    raw = stub.infer(inputs=[tensor(texts)], raw_input_contents=[encode_bytes_tensor(texts)])
    typed = stub.infer(inputs=[tensor(texts, contents=True)])
    loaded = load_bundle(server.bundle)
    for response in (raw, typed):
        assert [output.name for output in response.outputs] == ["label", "score", "probabilities", "truncated"]
        assert [list(output.shape) for output in response.outputs] == [
            [len(texts)],
            [len(texts)],
            [len(texts), 2],
            [len(texts)],
        ]
        assert loaded.bundle.fingerprint.startswith(response.model_version)
    probabilities = np.frombuffer(raw.raw_output_contents[2], "<f8")
    np.testing.assert_allclose(probabilities, loaded.predict_proba(texts).ravel(), atol=1e-6, rtol=0)
    label, score, rows, truncated = (output.contents for output in typed.outputs)
    np.testing.assert_allclose(rows.fp64_contents, probabilities, atol=1e-6, rtol=0)
    np.testing.assert_allclose(score.fp64_contents, np.frombuffer(raw.raw_output_contents[1], "<f8"), atol=1e-6, rtol=0)
    assert encode_bytes_tensor([element.decode() for element in label.bytes_contents]) == raw.raw_output_contents[0]
    assert bytes(truncated.bool_contents) == raw.raw_output_contents[3]
    assert not typed.raw_output_contents
    assert not any(output.HasField("contents") for output in raw.outputs)


def test_the_request_id_is_the_clients_or_a_new_one(server: ServerProcess, stub: Stub) -> None:
    request = pb.ModelInferRequest(model_name="small", id="seven", inputs=[tensor(["a"], contents=True)])
    assert stub.call("ModelInfer", request).id == "seven"
    request.id = ""
    assert stub.call("ModelInfer", request, metadata=[("x-request-id", "mine")]).id == "mine"
    first, second = (stub.call("ModelInfer", request, metadata=[("x-request-id", "not one")]).id for _ in range(2))
    assert first != second
    server.wait_for("request", route="grpc ModelInfer", request_id=second, status=200, texts=1)


TYPED, RAW = tensor(["a", "b"], contents=True), encode_bytes_tensor(["a", "b"])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "the input must be one tensor, 'text', of BYTES; given: none"),
        ({"inputs": [TYPED, TYPED]}, "given: 'text', 'text'"),
        ({"inputs": [{**TYPED, "datatype": "FP32"}]}, "datatype BYTES, not 'FP32'"),
        ({"inputs": [{**TYPED, "shape": [2, 2]}]}, r"not \[2, 2\]"),
        ({"inputs": [{**TYPED, "shape": [3]}]}, "has 2 elements, where its shape says 3"),
        ({"inputs": [TYPED], "raw_input_contents": [RAW]}, "not both"),
        ({"inputs": [tensor(["a", "b"])], "raw_input_contents": [RAW, RAW]}, "one element of raw_input_contents"),
        ({"inputs": [tensor(["a", "b"])], "raw_input_contents": [RAW[:-1]]}, "ends within its element 1"),
        ({"inputs": [tensor(["a"])], "raw_input_contents": [b"\1\0\0\0\xff"]}, "the element 0 .* is not UTF-8"),
        ({"inputs": [TYPED], "outputs": [{"name": "logits"}]}, "no output tensor 'logits'"),
        ({"inputs": [{**TYPED, "name": "漢" * 10_000}]}, "given: '漢漢"),
    ],
)
def test_an_invalid_request_is_rejected_with_one_sentence(stub: Stub, fields: dict[str, Any], sentence: str) -> None:
    error = stub.error("ModelInfer", pb.ModelInferRequest(model_name="small", **fields))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert re.search(sentence, error.details())
    assert "\n" not in error.details()


@GENEROUS
@given(st.sampled_from(sorted(METHODS)), st.binary(max_size=200))
def test_bytes_that_are_not_a_message_do_not_break_the_server(stub: Stub, name: str, garbage: bytes) -> None:
    try:
        stub.call(name, garbage)
    except grpc.RpcError as error:
        known = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED}
        assert error.code() in known, error.details()  # noqa: PT017
    assert stub.call("ServerReady", pb.ServerReadyRequest()).ready


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_over_the_size_limit_is_rejected_unread(stub: Stub, compression: grpc.Compression) -> None:
    request = pb.ModelInferRequest(model_name="small", inputs=[tensor(["a"])], raw_input_contents=[b"a" * 50_000_000])
    error = stub.error("ModelInfer", request, compression=compression)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.call("ServerReady", pb.ServerReadyRequest()).ready


def test_a_model_or_version_that_is_not_served_is_not_found(server: ServerProcess, stub: Stub) -> None:
    for name in ("ModelReady", "ModelMetadata"):
        request = GetMessageClass(METHODS[name].input_type)
        assert stub.error(name, request(name="none")).code() is grpc.StatusCode.NOT_FOUND
        assert stub.error(name, request(name="small", version="none")).code() is grpc.StatusCode.NOT_FOUND
        assert stub.call(name, request(name="small")).IsInitialized()
    unknown = stub.error("ModelInfer", pb.ModelInferRequest(model_name="none", inputs=[TYPED]))
    assert unknown.code() is grpc.StatusCode.NOT_FOUND
    assert "those that are: small" in unknown.details()


def test_calls_are_counted_in_the_metrics(server: ServerProcess, stub: Stub) -> None:
    stub.infer(inputs=[TYPED])
    counted = re.compile(r'^textgate_requests_total\{.*route="grpc ModelInfer",status="200".*\} [1-9]', re.MULTILINE)
    assert counted.search(server.get("/metrics").text)


async def infer_from(classify: Callable[..., Awaitable[Any]]) -> grpc.aio.AioRpcError:
    """Return the error of a call to a server whose endpoint has this ``classify``."""
    server = await start_grpc(fake_endpoint(classify=classify), "127.0.0.1", 0, max_message_bytes=2**20)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(pb.ModelInferRequest(model_name="small", inputs=[TYPED]).SerializeToString(), timeout=60)
            return caught.value
    finally:
        await server.stop(0)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, grpc.StatusCode.INVALID_ARGUMENT),
        (404, grpc.StatusCode.NOT_FOUND),
        (422, grpc.StatusCode.INVALID_ARGUMENT),
        (429, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (500, grpc.StatusCode.INTERNAL),
        (503, grpc.StatusCode.UNAVAILABLE),
        (504, grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_an_error_has_the_grpc_status_of_its_http_status(status: int, code: grpc.StatusCode) -> None:
    async def fail(*_: object) -> None:
        raise RequestError(status, "no", retry_after=3 if status == 429 else None)

    error = asyncio.run(infer_from(fail))
    assert (error.code(), error.details()) == (code, "no")
    trailing = dict(error.trailing_metadata())
    assert trailing.get("retry-after") == ("3" if status == 429 else None)
    assert len(trailing["x-request-id"]) == 32


def test_an_internal_error_reveals_nothing_about_the_request() -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a secret text")

    error = asyncio.run(infer_from(fail))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "the server failed on this request; its log says how"


def test_a_port_that_is_taken_is_reported_in_one_sentence() -> None:
    async def start_twice() -> None:
        first = await start_grpc(fake_endpoint(), "127.0.0.1", 0, max_message_bytes=2**20)
        try:
            with pytest.raises(InputError, match=rf"gRPC cannot listen on 127.0.0.1:{first.port}: the port is taken"):
                await start_grpc(fake_endpoint(), "127.0.0.1", first.port, max_message_bytes=2**20)
        finally:
            await first.stop(0)

    asyncio.run(start_twice())


def test_keys_and_tls(registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path) -> None:
    certificate, private_key, keys = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "keys"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(private_key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    new_keys = [new_key("user", "user"), new_key("admin", "admin")]
    keys.write_text("".join(f"{line}\n" for _, line in new_keys))
    keys.chmod(0o600)
    user, admin = ([("authorization", f"Bearer {key}")] for key, _ in new_keys)
    # As k8s/components/tls names the files.
    tls = {"TEXTGATE_TLS_CERT": str(certificate), "TEXTGATE_TLS_KEY": str(private_key)}
    arguments = ("--keys", str(keys))
    request = pb.ModelInferRequest(model_name="small", inputs=[TYPED])
    unload, load_again = pb.RepositoryModelUnloadRequest(model_name="small"), pb.RepositoryModelLoadRequest()
    # KServe's client puts the name of the model here.
    load_again.repository_name = "small"
    with start_server({**environment, **tls}, registry.store.bucket, tmp_path, served_bundle, *arguments) as server:
        assert server.get("/v2/health/ready", verify=str(certificate)).status_code == 200
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(server.grpc, trusted) as channel:
            stub = Stub(channel)
            assert stub.call("ServerReady", pb.ServerReadyRequest()).ready
            for metadata in ([], [("authorization", "Bearer wrong")], [("x-api-key-bin", b"\xff")]):
                assert stub.error("ModelInfer", request, metadata=metadata).code() is grpc.StatusCode.UNAUTHENTICATED
            assert len(stub.call("ModelInfer", request, metadata=user).outputs) == 4
            for name, message in (("RepositoryModelUnload", unload), ("RepositoryModelLoad", load_again)):
                denied = stub.error(name, message, metadata=user)
                assert denied.code() is grpc.StatusCode.PERMISSION_DENIED
            assert stub.call("RepositoryModelUnload", unload, metadata=admin).isUnloaded
            assert stub.error("ModelInfer", request, metadata=user).code() is grpc.StatusCode.NOT_FOUND
            index = pb.RepositoryIndexRequest()
            (entry,) = stub.call("RepositoryIndex", index, metadata=user).models
            assert (entry.name, entry.state) == ("small", "UNAVAILABLE")
            index.ready = True
            assert not stub.call("RepositoryIndex", index, metadata=user).models
            loaded = stub.call("RepositoryModelLoad", load_again, metadata=admin)
            assert (loaded.model_name, loaded.isLoaded) == ("small", True)
            assert len(stub.call("ModelInfer", request, metadata=[("x-api-key", new_keys[0][0])]).outputs) == 4
        with grpc.insecure_channel(server.grpc) as channel:
            code = Stub(channel).error("ServerReady", pb.ServerReadyRequest()).code()
            assert code is grpc.StatusCode.UNAVAILABLE
    assert all(key not in str(server.log_lines) for key, _ in new_keys)


def test_the_committed_files_are_those_that_the_compiler_generates(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    folder = tmp_path / "textgate/serving"
    folder.mkdir(parents=True)
    (folder / "open_inference.proto").write_bytes((root / "serving/open_inference.proto").read_bytes())
    compiler = [root / ".venv/clients/bin/python", "-m", "grpc_tools.protoc", "-I", tmp_path]
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*compiler, *out, "textgate/serving/open_inference.proto"], check=True)
    for name in ("open_inference_pb2.py", "open_inference_pb2.pyi"):
        assert (folder / name).read_bytes() == (root / "serving" / name).read_bytes(), "run make protos"
