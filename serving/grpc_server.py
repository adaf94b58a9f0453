"""The Open Inference Protocol v2 over gRPC: the service of ``open_inference.proto``."""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
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
from textgate.serving.open_inference import SERVER_METADATA, model_config, model_metadata, model_statistics
from textgate.serving.tensors import (
    Tensor,
    check_outputs,
    count_texts,
    decode_bytes_tensor,
    decode_elements,
    output_tensors,
)

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_MAX_MESSAGE_LENGTH = 500
"""Length of a status message in characters: it is sent in the headers, of which clients accept 8 KiB."""
# From the HTTP statuses in the documentation of google.rpc.Code, which has none for 413 and 422.
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


@dataclass(slots=True)
class _Call:
    """Context of a call."""

    id: str
    deadline_seconds: float | None
    """Seconds until the client gives up; None if it has no deadline."""
    key_name: str | None = None
    """Name of the API key that the call came with."""
    answered_by: tuple[str, str] = ("", "")
    """Model and version that answered, for the log and the metrics."""
    text_count: int | None = None


_Method = Callable[[Any, _Call], Awaitable[Message]]
_GrpcHandler = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[Message]]


@dataclass(frozen=True)
class GrpcService:
    """Implementation of the service, with authorization, metrics, log and tracing."""

    endpoint: Endpoint
    keys: Keys | None = None
    """Accepted API keys; None allows everything that the role ``user`` may do."""
    tracing: "Tracing | None" = None

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handler of each method of the service by its name."""
        methods: dict[str, tuple[_Method, Role | None]] = {
            "ServerLive": (self._server_live, None),
            "ServerReady": (self._server_ready, None),
            "ModelReady": (self._model_ready, "user"),
            "ServerMetadata": (self._server_metadata, "user"),
            "ModelMetadata": (self._model_metadata, "user"),
            "ModelInfer": (self._model_infer, "user"),
            "ModelConfig": (self._model_config, "user"),
            "ModelStatistics": (self._model_statistics, "user"),
            "RepositoryIndex": (self._repository_index, "user"),
            "RepositoryModelLoad": (self._repository_model_load, "admin"),
            "RepositoryModelUnload": (self._repository_model_unload, "admin"),
        }
        return {
            method.name: grpc.unary_unary_rpc_method_handler(
                self._wrap(method.name, GetMessageClass(method.input_type), *methods[method.name]),
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
            for method in _SERVICE.methods
        }

    async def _server_live(self, request: pb.ServerLiveRequest, call: _Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, request: pb.ServerReadyRequest, call: _Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self.endpoint.ready)

    async def _model_ready(self, request: pb.ModelReadyRequest, call: _Call) -> pb.ModelReadyResponse:
        self.endpoint.find(request.name, request.version or None)
        return pb.ModelReadyResponse(ready=self.endpoint.ready)

    async def _server_metadata(self, request: pb.ServerMetadataRequest, call: _Call) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(**SERVER_METADATA)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, call: _Call) -> pb.ModelMetadataResponse:
        metadata = model_metadata(self.endpoint.find(request.name, request.version or None))
        return pb.ModelMetadataResponse(**asdict(metadata))

    async def _model_infer(self, request: pb.ModelInferRequest, call: _Call) -> pb.ModelInferResponse:
        names = {output.name for output in request.outputs}
        check_outputs(names)
        texts = _read_texts(request)
        call.text_count = len(texts)
        version = request.model_version or None
        prediction = await self.endpoint.classify(request.model_name, texts, call.id, version, call.deadline_seconds)
        call.answered_by = (prediction.model, prediction.version)
        raw = bool(request.raw_input_contents)
        tensors = output_tensors(prediction, names)
        return pb.ModelInferResponse(
            model_name=prediction.model,
            model_version=prediction.version,
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

    async def _model_config(self, request: pb.ModelConfigRequest, call: _Call) -> pb.ModelConfigResponse:
        config = model_config(self.endpoint.find(request.name, request.version or None))
        return pb.ModelConfigResponse(config=config)

    async def _model_statistics(self, request: pb.ModelStatisticsRequest, call: _Call) -> pb.ModelStatisticsResponse:
        return pb.ModelStatisticsResponse(**model_statistics(self.endpoint, request.name, request.version))

    async def _repository_index(self, request: pb.RepositoryIndexRequest, call: _Call) -> pb.RepositoryIndexResponse:
        entries = await self.endpoint.index()
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(**asdict(entry))
                for entry in entries
                if entry.state == "READY" or not request.ready
            ]
        )

    async def _repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, call: _Call
    ) -> pb.RepositoryModelLoadResponse:
        model = await _apply(self.endpoint.load, request)
        return pb.RepositoryModelLoadResponse(model_name=model, isLoaded=True)

    async def _repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest, call: _Call
    ) -> pb.RepositoryModelUnloadResponse:
        model = await _apply(self.endpoint.unload, request)
        return pb.RepositoryModelUnloadResponse(model_name=model, isUnloaded=True)

    def _wrap(self, name: str, message: type[Message], method: _Method, role: Role | None) -> _GrpcHandler:
        """Return a handler that authorizes a call, parses its message, maps errors to gRPC codes, counts and logs."""
        route = f"grpc {name}"

        async def handler(body: bytes, context: grpc.aio.ServicerContext) -> Message:
            started = time.perf_counter()
            # Names are in lower case; binary values are not of interest here.
            headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            call = _Call(request_id(headers), context.time_remaining())
            error: RequestError | None = None
            response: Message | None = None
            try:
                call.key_name = authorize(self.keys, role, headers)
                with self.tracing.span(route, headers) if self.tracing else nullcontext():
                    response = await method(message.FromString(body), call)
            except RequestError as request_error:
                error = request_error
            except DecodeError:
                error = RequestError(400, f"the message is not a {message.DESCRIPTOR.full_name}")
            except Exception as failure:  # one call must not take the server with it
                log_event("a request failed", logging.ERROR, failure, request_id=call.id, path=route)
                error = RequestError(500, "the server failed on this request; its log says how")
            trailing = [("x-request-id", call.id)]
            if error and error.retry_after is not None:
                trailing.append(("retry-after", str(error.retry_after)))
            context.set_trailing_metadata(trailing)
            self._record(route, call, error.status if error else 200, time.perf_counter() - started)
            if error:
                await context.abort(_CODES[error.status], error.message[:_MAX_MESSAGE_LENGTH])
            return response

        return handler

    def _record(self, route: str, call: _Call, status: int, seconds: float) -> None:
        """Count and log a finished call."""
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
            texts=call.text_count,
            key=call.key_name,
        )


async def start_grpc(
    service: GrpcService, host: str, port: int, max_message_bytes: int, tls: tuple[bytes, bytes] | None = None
) -> tuple[grpc.aio.Server, int]:
    """Start a gRPC server.

    To drain it, ``await server.stop(grace)``: it accepts no new calls and waits ``grace`` seconds for running ones.

    Args:
        service: Service to serve.
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        max_message_bytes: Largest message that is accepted.
        tls: Private key and certificate chain in PEM; None serves without TLS.

    Returns:
        The server and its port.

    Raises:
        InputError: If the port is taken, the host is not an address of this machine, or the certificate does not
            belong to the key.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            # Otherwise two servers could listen on one port and share the calls.
            ("grpc.so_reuseport", 0),
        ]
    )
    handlers = grpc.method_handlers_generic_handler(_SERVICE.full_name, service.handlers())
    server.add_generic_rpc_handlers((handlers,))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound_port = server.add_insecure_port(address)
        else:
            bound_port = server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
    except RuntimeError as error:
        raise InputError(
            f"gRPC cannot listen on {address}: the port is taken, the host is not an address of this machine, "
            "or the certificate does not belong to the key"
        ) from error
    await server.start()
    return server, bound_port


async def _apply(
    change: Callable[[str], Awaitable[None]], request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest
) -> str:
    """Load or unload the model that a request names; return its name."""
    # KServe's client puts the name of the model into repository_name.
    model = request.model_name or request.repository_name
    await change(model)
    return model


def _read_texts(request: pb.ModelInferRequest) -> list[str]:
    count = count_texts(request.inputs)
    raw = request.raw_input_contents
    if not raw:
        return decode_elements(request.inputs[0].contents.bytes_contents, count)
    if len(raw) != 1 or request.inputs[0].HasField("contents"):
        raise RequestError(
            400, "the tensor 'text' must be in its contents or in one element of raw_input_contents, not both"
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
