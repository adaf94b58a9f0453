"""The Open Inference Protocol v2 over gRPC: the service of ``open_inference.proto``.

A message is at most as large as an HTTP body. Parsed, it takes up to 16 times its bytes, because protobuf stores an
empty text, which has two bytes, in 16; with the message itself that is at most 20 times its bytes, for one message at
a time. An empty tensor would take 44 times its bytes, so what is not texts is limited before the message is parsed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import grpc

from textgate.serving import open_inference_pb2 as pb
from textgate.serving.endpoint import Endpoint, RequestLimits
from textgate.serving.errors import RequestError
from textgate.serving.grpc_calls import SMALL_MESSAGE_BYTES, Call, CallHandlers, Method
from textgate.serving.open_inference import SERVER_METADATA, model_config, model_metadata, model_statistics
from textgate.serving.tensors import (
    Tensor,
    check_outputs,
    count_texts,
    decode_bytes_tensor,
    decode_elements,
    output_tensors,
)

INFERENCE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


@dataclass(frozen=True)
class GrpcService:
    """Implementation of the service."""

    endpoint: Endpoint

    def handlers(self, calls: CallHandlers) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handlers of the service by the names of its methods."""
        return calls.of_service(
            INFERENCE,
            {
                "ServerLive": Method(self._server_live, is_probe=True),
                "ServerReady": Method(self._server_ready, is_probe=True),
                "ModelReady": Method(self._model_ready, "user", is_probe=True),
                "ServerMetadata": Method(self._server_metadata, "user"),
                "ModelMetadata": Method(self._model_metadata, "user"),
                "ModelInfer": Method(
                    self._model_infer,
                    "user",
                    max_bytes=None,
                    check_capacity=self.endpoint.batcher.check_capacity,
                    check_message=_check_parts,
                ),
                "ModelConfig": Method(self._model_config, "user"),
                "ModelStatistics": Method(self._model_statistics, "user"),
                "RepositoryIndex": Method(self._repository_index, "user"),
                "RepositoryModelLoad": Method(self._repository_model_load, "admin"),
                "RepositoryModelUnload": Method(self._repository_model_unload, "admin"),
            },
        )

    async def _server_live(self, request: pb.ServerLiveRequest, call: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, request: pb.ServerReadyRequest, call: Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self.endpoint.ready)

    async def _model_ready(self, request: pb.ModelReadyRequest, call: Call) -> pb.ModelReadyResponse:
        self.endpoint.find(request.name, request.version or None)
        return pb.ModelReadyResponse(ready=self.endpoint.ready)

    async def _server_metadata(self, request: pb.ServerMetadataRequest, call: Call) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(**SERVER_METADATA)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, call: Call) -> pb.ModelMetadataResponse:
        metadata = model_metadata(self.endpoint.find(request.name, request.version or None))
        return pb.ModelMetadataResponse(**asdict(metadata))

    async def _model_infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        names = {output.name for output in request.outputs}
        check_outputs(names)
        texts = _read_texts(request, self.endpoint.limits)
        version = request.model_version or None
        prediction = await self.endpoint.classify(call, request.model_name, texts, version, call.deadline_seconds)
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

    async def _model_config(self, request: pb.ModelConfigRequest, call: Call) -> pb.ModelConfigResponse:
        config = model_config(self.endpoint.find(request.name, request.version or None))
        return pb.ModelConfigResponse(config=config)

    async def _model_statistics(self, request: pb.ModelStatisticsRequest, call: Call) -> pb.ModelStatisticsResponse:
        return pb.ModelStatisticsResponse(**model_statistics(self.endpoint, request.name, request.version))

    async def _repository_index(self, request: pb.RepositoryIndexRequest, call: Call) -> pb.RepositoryIndexResponse:
        entries = await self.endpoint.index()
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(**asdict(entry))
                for entry in entries
                if entry.state == "READY" or not request.ready
            ]
        )

    async def _repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, call: Call
    ) -> pb.RepositoryModelLoadResponse:
        model = await _apply(self.endpoint.load, request)
        return pb.RepositoryModelLoadResponse(model_name=model, isLoaded=True)

    async def _repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest, call: Call
    ) -> pb.RepositoryModelUnloadResponse:
        model = await _apply(self.endpoint.unload, request)
        return pb.RepositoryModelUnloadResponse(model_name=model, isUnloaded=True)


async def _apply(
    change: Callable[[str], Awaitable[None]], request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest
) -> str:
    """Load or unload the model that a request names; return its name."""
    # Triton's client always sends this one, which is about ensembles of models.
    if unsupported := sorted(set(request.parameters) - {"unload_dependents"})[:3]:
        raise RequestError(
            400,
            f"this server takes no parameters such as {', '.join(repr(name[:100]) for name in unsupported)}: "
            "configuration and files of a model are those of its version in the registry",
        )
    # KServe's client puts the name of the model into repository_name.
    model = request.model_name or request.repository_name
    await change(model)
    return model


def _check_parts(body: bytes) -> None:
    """Check an encoded ModelInferRequest: all that is not texts must fit into ``SMALL_MESSAGE_BYTES``.

    Raises:
        RequestError: 400 if it does not.
        DecodeError: If it cannot be parsed.
    """
    if len(body) <= SMALL_MESSAGE_BYTES:
        return
    outline = pb.ModelInferRequestOutline.FromString(body)
    tensor = pb.ModelInferRequestOutline.InferInputTensor.FromString(outline.inputs)
    if len(body) - len(tensor.contents) - len(outline.raw_input_contents) > SMALL_MESSAGE_BYTES:
        raise RequestError(
            400,
            f"what a request has besides its texts must fit into {SMALL_MESSAGE_BYTES} bytes: one tensor with its "
            "shape, requested outputs, parameters",
        )


def _read_texts(request: pb.ModelInferRequest, limits: RequestLimits) -> list[str]:
    count = count_texts(request.inputs)
    limits.check_text_count(count)
    tensor, raw = request.inputs[0], request.raw_input_contents
    content_type = tensor.parameters["content_type"].string_param if "content_type" in tensor.parameters else None
    if not raw:
        return decode_elements(tensor.contents.bytes_contents, count, content_type)
    if len(raw) != 1 or tensor.HasField("contents"):
        raise RequestError(
            400, "the tensor 'text' must be in its contents or in one element of raw_input_contents, not both"
        )
    return decode_bytes_tensor(raw[0], count, content_type)


def _contents(tensor: Tensor) -> pb.InferTensorContents:
    match tensor.datatype:
        case "BYTES":
            return pb.InferTensorContents(bytes_contents=[text.encode("utf-8") for text in tensor.data()])
        case "BOOL":
            return pb.InferTensorContents(bool_contents=tensor.data())
        case _:
            return pb.InferTensorContents(fp64_contents=tensor.data())
