"""Handlers of the Open Inference Protocol v2 over HTTP, with its binary-data and repository extensions."""

from dataclasses import asdict, dataclass
from typing import Any

from textgate.serving.endpoint import Endpoint
from textgate.serving.errors import RequestError
from textgate.serving.open_inference import SERVER_METADATA, model_config, model_metadata, model_statistics
from textgate.serving.routing import Request, Response, json_response, parse_json
from textgate.serving.schemas import InferRequest, InputTensor, Parameters
from textgate.serving.served_model import ServedVersion
from textgate.serving.tensors import (
    Tensor,
    check_outputs,
    count_texts,
    decode_bytes_tensor,
    decode_elements,
    output_tensors,
)

_JSON_LENGTH_HEADER = "inference-header-content-length"


@dataclass(frozen=True)
class OpenInferenceApi:
    """Handlers of the protocol's routes."""

    endpoint: Endpoint

    async def infer(self, request: Request) -> Response:
        """Classify the texts of the tensor ``text``."""
        json_part, binary_part = _split_body(request)
        body = parse_json(InferRequest, json_part, self.endpoint.limits.max_texts)
        check_outputs(output.name for output in body.outputs or ())
        count = count_texts(body.inputs)
        self.endpoint.limits.check_text_count(count)
        texts = _read_texts(body.inputs[0], count, binary_part)
        model, version = request.path_parameters["model"], request.path_parameters.get("version")
        prediction = await self.endpoint.classify(request, model, texts, version)
        tensors = output_tensors(prediction, {output.name for output in body.outputs or ()})
        outputs, binary_outputs = _encode_outputs(tensors, body)
        response = json_response(
            {
                "model_name": prediction.model,
                "model_version": prediction.version,
                "id": body.id or request.id,
                "outputs": outputs,
            }
        )
        if binary_outputs:
            response.headers.append((_JSON_LENGTH_HEADER, str(len(response.body))))
            response.body = b"".join([response.body, *binary_outputs])
            response.content_type = "application/octet-stream"
        return response

    async def server_metadata(self, request: Request) -> Response:
        """Return name, version and extensions of the server."""
        return json_response(SERVER_METADATA)

    async def server_live(self, request: Request) -> Response:
        """Report that the server is running."""
        return json_response({"live": True})

    async def server_ready(self, request: Request) -> Response:
        """Report whether the server is ready; the status is 503 if it is not."""
        return json_response({"ready": self.endpoint.ready}, 200 if self.endpoint.ready else 503)

    async def model_metadata(self, request: Request) -> Response:
        """Return names, datatypes and shapes of a model's tensors."""
        return json_response(asdict(model_metadata(self._version(request))))

    async def model_config(self, request: Request) -> Response:
        """Return the configuration of a model as Triton does."""
        return json_response(model_config(self._version(request)))

    async def model_statistics(self, request: Request) -> Response:
        """Return the statistics of a model, or of all, as Triton does."""
        parameters = request.path_parameters
        return json_response(
            model_statistics(self.endpoint, parameters.get("model", ""), parameters.get("version", ""))
        )

    async def model_ready(self, request: Request) -> Response:
        """Report whether a model is ready."""
        body = {"name": self._version(request).model, "ready": self.endpoint.ready}
        return json_response(body, 200 if self.endpoint.ready else 503)

    async def repository_index(self, request: Request) -> Response:
        """List the models of the registry that have a champion, and whether they are served."""
        return json_response([asdict(entry) for entry in await self.endpoint.index()])

    async def load(self, request: Request) -> Response:
        """Load a model of the registry, or update it to the version that its channel points at."""
        await self.endpoint.load(request.path_parameters["model"])
        return json_response({})

    async def unload(self, request: Request) -> Response:
        """Stop serving a model."""
        await self.endpoint.unload(request.path_parameters["model"])
        return json_response({})

    def _version(self, request: Request) -> ServedVersion:
        return self.endpoint.find(request.path_parameters["model"], request.path_parameters.get("version"))


def _split_body(request: Request) -> tuple[bytes, bytes]:
    """Split a body into its JSON and the binary data that follows."""
    header = request.headers.get(_JSON_LENGTH_HEADER)
    if header is None:
        return request.body, b""
    # Python refuses to convert thousands of digits.
    if not header.isdigit() or len(header) > 12 or int(header) > len(request.body):
        raise RequestError(
            400, f"Inference-Header-Content-Length must be at most the size of the body, {len(request.body)} bytes"
        )
    length = int(header)
    return request.body[:length], request.body[length:]


def _read_texts(tensor: InputTensor, count: int, binary_part: bytes) -> list[str]:
    parameters = tensor.parameters or Parameters()
    size = parameters.binary_data_size
    if size is not None:
        if size != len(binary_part):
            raise RequestError(
                400, f"binary_data_size of the tensor 'text' says {size} bytes, but {len(binary_part)} arrived"
            )
        return decode_bytes_tensor(binary_part, count, parameters.content_type)
    if tensor.data is None:
        raise RequestError(400, "the tensor 'text' has neither data nor binary_data_size")
    # A tensor of shape [n, 1] may be nested.
    elements = [element if isinstance(element, str) else element[0] for element in tensor.data]
    return decode_elements([element.encode("utf-8") for element in elements], count, parameters.content_type)


def _encode_outputs(tensors: list[Tensor], body: InferRequest) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the JSON of each tensor, and the data of those that the client requested in binary form."""
    binary_requested = {
        output.name: output.parameters.binary_data for output in body.outputs or () if output.parameters is not None
    }
    binary_by_default = body.parameters is not None and body.parameters.binary_data_output
    outputs, binary_outputs = [], []
    for tensor in tensors:
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        binary = binary_requested.get(tensor.name)
        if binary_by_default if binary is None else binary:
            binary_outputs.append(tensor.raw())
            output["parameters"] = {"binary_data_size": len(binary_outputs[-1])}
        else:
            output["data"] = tensor.data()
        outputs.append(output)
    return outputs, binary_outputs
