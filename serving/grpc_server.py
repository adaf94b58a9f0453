"""The Open Inference Protocol v2 over gRPC: the service of ``open_inference.proto``, over the endpoint HTTP has too."""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from textgate.components.contracts import InputError
from textgate.serving import open_inference_pb2 as pb
from textgate.serving.access import authorize
from textgate.serving.endpoint import Endpoint
from textgate.serving.errors import RequestError
from textgate.serving.keys import Keys, Role
from textgate.serving.log import log_event, request_id
from textgate.serving.oip import EXTENSIONS, PLATFORM, SERVER, SERVER_VERSION
from textgate.serving.tensors import (
    INPUT,
    Tensor,
    TensorMetadata,
    check_outputs,
    count_texts,
    decode_bytes_tensor,
    decode_elements,
    output_metadata,
    output_tensors,
)

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_LONGEST_MESSAGE = 500
"""Characters: a status travels in the headers, which clients take 8 KiB of."""
# By google.rpc.Code's own list of HTTP statuses; 413 and 422 have none of their own.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


async def start_grpc(
    endpoint: Endpoint,
    host: str,
    port: int,
    keys: Keys | None,
    tls: tuple[bytes, bytes] | None,
    largest_message: int,
    tracing: "Tracing | None" = None,
) -> tuple[grpc.aio.Server, int]:
    """Start to answer, and tell the port: ``port``, or a free one for 0.

    ``tls`` is a private key and its certificate chain in PEM; ``largest_message`` is in bytes.
    To drain it: ``await server.stop(grace)`` takes no new calls and waits ``grace`` seconds for those under way.

    Raises:
        InputError: the port is taken, the host is none of this machine's, or the key and the certificate are no pair.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", largest_message),
            # Else two servers could listen on one port, and share the calls.
            ("grpc.so_reuseport", 0),
        ]
    )
    calls = _Calls(endpoint, keys, tracing)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, calls.handlers()),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
    except RuntimeError as error:
        raise InputError(
            f"gRPC cannot listen on {address}: the port is taken, the host is none of this machine's, "
            "or the key and the certificate are no pair"
        ) from error
    await server.start()
    return server, bound


@dataclass(slots=True)
class _Call:
    """What is known of a call besides its message."""

    id: str
    deadline: float | None
    """Seconds the caller still waits; None: as long as it takes."""
    holder: str | None = None
    """Whose key it came with."""
    answered_by: tuple[str, str] = ("", "")
    texts: int | None = None


_Handler = Callable[[Any, _Call], Awaitable[Message]]


@dataclass(frozen=True)
class _Calls:
    """The service."""

    endpoint: Endpoint
    keys: Keys | None
    tracing: "Tracing | None"

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Every method of the service by its name."""
        table: dict[str, tuple[_Handler, Role | None]] = {
            "ServerLive": (self.server_live, None),
            "ServerReady": (self.server_ready, None),
            "ModelReady": (self.model_ready, "user"),
            "ServerMetadata": (self.server_metadata, "user"),
            "ModelMetadata": (self.model_metadata, "user"),
            "ModelInfer": (self.model_infer, "user"),
            "RepositoryIndex": (self.repository_index, "user"),
            "RepositoryModelLoad": (self.repository_model_load, "admin"),
            "RepositoryModelUnload": (self.repository_model_unload, "admin"),
        }
        return {
            method.name: grpc.unary_unary_rpc_method_handler(
                self._answering(method.name, GetMessageClass(method.input_type), *table[method.name]),
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
            for method in _SERVICE.methods
        }

    async def server_live(self, request: pb.ServerLiveRequest, call: _Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: pb.ServerReadyRequest, call: _Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self.endpoint.ready)

    async def model_ready(self, request: pb.ModelReadyRequest, call: _Call) -> pb.ModelReadyResponse:
        self.endpoint.describe(request.name, request.version or None)
        return pb.ModelReadyResponse(ready=self.endpoint.ready)

    async def server_metadata(self, request: pb.ServerMetadataRequest, call: _Call) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=SERVER, version=SERVER_VERSION, extensions=EXTENSIONS)

    async def model_metadata(self, request: pb.ModelMetadataRequest, call: _Call) -> pb.ModelMetadataResponse:
        found = self.endpoint.describe(request.name, request.version or None)
        return pb.ModelMetadataResponse(
            name=found.model,
            versions=[found.version],
            platform=PLATFORM,
            inputs=[_described(INPUT)],
            outputs=map(_described, output_metadata(len(found.loaded.bundle.labels))),
        )

    async def model_infer(self, request: pb.ModelInferRequest, call: _Call) -> pb.ModelInferResponse:
        wanted = {output.name for output in request.outputs}
        check_outputs(wanted)
        texts = _texts(request)
        call.texts = len(texts)
        version = request.model_version or None
        answers = await self.endpoint.answer(request.model_name, texts, call.id, version, call.deadline)
        call.answered_by = (answers.model, answers.version)
        raw = bool(request.raw_input_contents)
        tensors = output_tensors(answers, wanted)
        return pb.ModelInferResponse(
            model_name=answers.model,
            model_version=answers.version,
            id=request.id or call.id,
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(
                    name=tensor.name,
                    datatype=tensor.datatype,
                    shape=tensor.shape,
                    contents=None if raw else _contents(tensor),
                )
                for tensor in tensors
            ],
            raw_output_contents=[tensor.raw() for tensor in tensors] if raw else None,
        )

    async def repository_index(self, request: pb.RepositoryIndexRequest, call: _Call) -> pb.RepositoryIndexResponse:
        entries = await self.endpoint.index()
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(**vars(entry))
                for entry in entries
                if entry.state == "READY" or not request.ready
            ]
        )

    async def repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, call: _Call
    ) -> pb.RepositoryModelLoadResponse:
        model = request.model_name or request.repository_name
        await self.endpoint.load(model)
        return pb.RepositoryModelLoadResponse(model_name=model, isLoaded=True)

    async def repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest, call: _Call
    ) -> pb.RepositoryModelUnloadResponse:
        model = request.model_name or request.repository_name
        await self.endpoint.unload(model)
        return pb.RepositoryModelUnloadResponse(model_name=model, isUnloaded=True)

    def _answering(
        self, name: str, message: type[Message], handler: _Handler, role: Role | None
    ) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[Message]]:
        """``handler``, for those who may call it; what it refuses becomes the call's status."""
        route = f"grpc {name}"

        # The message is parsed here since grpc.aio makes a failure of the server of one that cannot be.
        async def answer(body: bytes, context: grpc.aio.ServicerContext) -> Message:
            started = time.perf_counter()
            # As in HTTP/2 they are: names in lower case, and bytes for values.
            headers = {
                key.encode(): value.encode() if isinstance(value, str) else value
                for key, value in context.invocation_metadata()
            }
            call = _Call(request_id(headers), context.time_remaining())
            refused, response = None, None
            try:
                call.holder = authorize(self.keys, role, headers)
                with self.tracing.span(route, headers) if self.tracing else nullcontext():
                    response = await handler(message.FromString(body), call)
            except RequestError as error:
                refused = error
            except DecodeError:
                refused = RequestError(400, f"the message is not a {message.DESCRIPTOR.full_name}")
            except Exception as error:  # one call must not take the server with it
                log_event("a request failed", logging.ERROR, error, request_id=call.id, path=route)
                refused = RequestError(500, "the server failed on this request; its log says how")
            trailing = [("x-request-id", call.id)]
            if refused and refused.retry_after is not None:
                trailing.append(("retry-after", str(refused.retry_after)))
            context.set_trailing_metadata(trailing)
            self._note(route, call, refused.status if refused else 200, time.perf_counter() - started)
            if refused:
                await context.abort(_CODES[refused.status], refused.message[:_LONGEST_MESSAGE])
            return response

        return answer

    def _note(self, route: str, call: _Call, status: int, seconds: float) -> None:
        metrics, (model, version) = self.endpoint.metrics, call.answered_by
        metrics.requests.labels(model, version, route, str(status)).inc()
        if status < 400:
            metrics.request_seconds.labels(model, version, route).observe(seconds)
        log_event(
            "request",
            request_id=call.id,
            method="gRPC",
            route=route,
            status=status,
            ms=round(seconds * 1e3, 2),
            model=model or None,
            version=version or None,
            texts=call.texts,
            key=call.holder,
        )


def _texts(request: pb.ModelInferRequest) -> list[str]:
    count = count_texts([TensorMetadata(each.name, each.datatype, tuple(each.shape)) for each in request.inputs])
    raw = request.raw_input_contents
    if not raw:
        return decode_elements(request.inputs[0].contents.bytes_contents, count)
    if len(raw) != 1 or request.inputs[0].HasField("contents"):
        raise RequestError(
            400, "the tensor 'text' is to come in its contents or in one element of raw_input_contents, not both"
        )
    return decode_bytes_tensor(raw[0], count)


def _contents(tensor: Tensor) -> pb.InferTensorContents:
    match tensor.datatype:
        case "BYTES":
            return pb.InferTensorContents(bytes_contents=[text.encode("utf-8") for text in tensor.data()])
        case "BOOL":
            return pb.InferTensorContents(bool_contents=tensor.data())
        case _:
            return pb.InferTensorContents(fp64_contents=tensor.data())


def _described(tensor: TensorMetadata) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
