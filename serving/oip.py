"""The Open Inference Protocol v2 over HTTP, with its binary-data and repository extensions.

kserve.github.io, "Open Inference Protocol", and triton-inference-server's "Binary Tensor Data Extension" and "Model
Repository Extension", which KServe's, Triton's and MLServer's clients speak.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from textgate.serving.app import Request, Response, Route, answer_json
from textgate.serving.endpoint import Endpoint
from textgate.serving.errors import RequestError
from textgate.serving.routes import parsed
from textgate.serving.tensors import (
    INPUT,
    TensorMetadata,
    check_outputs,
    count_texts,
    decode_bytes_tensor,
    decode_elements,
    output_metadata,
    output_tensors,
)

SERVER, SERVER_VERSION = "textgate", installed("textgate")
PLATFORM = "textgate_text_classification"
EXTENSIONS = ["binary_tensor_data", "model_repository"]
_HEADER_LENGTH = b"inference-header-content-length"


class _Loose(BaseModel):
    """Clients send parameters of their own; what is not known is not looked at."""

    model_config = ConfigDict(extra="ignore")


class Parameters(_Loose):
    """Those of the binary-data extension."""

    binary_data_size: int | None = Field(default=None, ge=0)
    binary_data: bool | None = None
    binary_data_output: bool = False


class InputTensor(_Loose):
    """The texts."""

    name: str = Field(examples=["text"])
    datatype: str = Field(examples=["BYTES"])
    shape: list[int] = Field(examples=[[1]])
    data: list[Any] | None = Field(default=None, examples=[["You Won't Believe What Happened Next"]])
    parameters: Parameters = Parameters()


class RequestedOutput(_Loose):
    """A tensor to send back."""

    name: str
    parameters: Parameters = Parameters()


class InferRequest(_Loose):
    """An inference request."""

    id: str | None = Field(default=None, max_length=128)
    inputs: list[InputTensor]
    outputs: list[RequestedOutput] = []
    parameters: Parameters = Parameters()


@dataclass(frozen=True)
class OipRoutes:
    """The protocol's routes."""

    endpoint: Endpoint

    def table(self) -> list[Route]:
        """The routes."""
        admit = self.endpoint.batcher.admit
        model, repository = "/v2/models/{model}", "/v2/repository/models/{model}"
        version = f"{model}/versions/{{version}}"
        return [
            Route("POST", f"{model}/infer", self.infer, admit=admit),
            Route("POST", f"{version}/infer", self.infer, admit=admit),
            Route("GET", "/v2", self.server),
            Route("GET", "/v2/health/live", self.live, role=None),
            Route("GET", "/v2/health/ready", self.ready, role=None),
            *(Route("GET", path, self.model) for path in (model, version)),
            *(Route("GET", f"{path}/ready", self.model_ready) for path in (model, version)),
            *(Route(method, "/v2/repository/index", self.index) for method in ("GET", "POST")),
            Route("POST", f"{repository}/load", self.load, role="admin"),
            Route("POST", f"{repository}/unload", self.unload, role="admin"),
        ]

    async def infer(self, request: Request) -> Response:
        """Answer the texts of the tensor ``text``."""
        head, raw = _parts(request)
        asked = parsed(InferRequest, head)
        check_outputs(output.name for output in asked.outputs)
        texts = _texts(asked, raw)
        request.texts = len(texts)
        model, version = request.names["model"], request.names.get("version")
        answers = await self.endpoint.answer(model, texts, request.id, version)
        request.answered_by = (answers.model, answers.version)
        binary = {output.name: output.parameters.binary_data for output in asked.outputs}
        outputs, tail = [], []
        for tensor in output_tensors(answers, {output.name for output in asked.outputs}):
            described: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
            chosen = binary.get(tensor.name)
            if asked.parameters.binary_data_output if chosen is None else chosen:
                tail.append(tensor.raw())
                described["parameters"] = {"binary_data_size": len(tail[-1])}
            else:
                described["data"] = tensor.data()
            outputs.append(described)
        response = answer_json(
            {
                "model_name": answers.model,
                "model_version": answers.version,
                "id": asked.id or request.id,
                "outputs": outputs,
            }
        )
        if tail:
            response.headers.append((_HEADER_LENGTH, b"%d" % len(response.body)))
            response.body, response.type = b"".join([response.body, *tail]), b"application/octet-stream"
        return response

    async def server(self, request: Request) -> Response:
        """Name, version and extensions of the server."""
        return answer_json({"name": SERVER, "version": SERVER_VERSION, "extensions": EXTENSIONS})

    async def live(self, request: Request) -> Response:
        """Whether the server runs."""
        return answer_json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether every model answers."""
        return answer_json({"ready": self.endpoint.ready}, 200 if self.endpoint.ready else 503)

    async def model(self, request: Request) -> Response:
        """Names and shapes of a model's tensors."""
        found = self.endpoint.describe(request.names["model"], request.names.get("version"))
        return answer_json(
            {
                "name": found.model,
                "versions": [found.version],
                "platform": PLATFORM,
                "inputs": [_described(INPUT)],
                "outputs": [_described(tensor) for tensor in output_metadata(len(found.loaded.bundle.labels))],
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Whether a model answers."""
        found = self.endpoint.describe(request.names["model"], request.names.get("version"))
        return answer_json({"name": found.model, "ready": self.endpoint.ready}, 200 if self.endpoint.ready else 503)

    async def index(self, request: Request) -> Response:
        """The models of the registry that have a champion, and whether they are served."""
        return answer_json([asdict(entry) for entry in await self.endpoint.index()])

    async def load(self, request: Request) -> Response:
        """Serve a model of the registry, or take in where its channel points by now."""
        await self.endpoint.load(request.names["model"])
        return answer_json({})

    async def unload(self, request: Request) -> Response:
        """Serve a model no longer."""
        await self.endpoint.unload(request.names["model"])
        return answer_json({})


def _parts(request: Request) -> tuple[bytes, bytes]:
    """The JSON of a request, and the binary data behind it."""
    given = request.headers.get(_HEADER_LENGTH)
    if given is None:
        return request.body, b""
    if not given.isdigit() or int(given) > len(request.body):
        raise RequestError(
            400, f"Inference-Header-Content-Length is to be at most the body's {len(request.body)} bytes"
        )
    length = int(given)
    return request.body[:length], request.body[length:]


def _texts(asked: InferRequest, raw: bytes) -> list[str]:
    count = count_texts([TensorMetadata(each.name, each.datatype, tuple(each.shape)) for each in asked.inputs])
    (tensor,) = asked.inputs
    size = tensor.parameters.binary_data_size
    if size is not None:
        if size != len(raw):
            raise RequestError(
                400, f"binary_data_size of the tensor 'text' says {size} bytes, and {len(raw)} have come"
            )
        return decode_bytes_tensor(raw, count)
    if tensor.data is None:
        raise RequestError(400, "the tensor 'text' has neither data nor binary_data_size")
    elements = list(_flat(tensor.data))
    for number, element in enumerate(elements):
        if not isinstance(element, str):
            raise RequestError(400, f"the element {number} of the tensor 'text' is not a string")
    return decode_elements([element.encode("utf-8") for element in elements], count)


def _flat(data: list[Any]) -> Iterator[Any]:
    """Elements of a tensor that may be written nested, as [n, 1] is."""
    for element in data:
        if isinstance(element, list):
            yield from element
        else:
            yield element


def _described(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
