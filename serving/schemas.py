"""Models of the JSON bodies that the routes read, and JSON schemas of the bodies that they return."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from textgate.serving.routing import JsonSchema

_TEXT_EXAMPLE = "You Won't Believe What Happened Next"


class _StrictModel(BaseModel):
    """Model without type coercion that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


TopK = Annotated[int, Field(ge=1, description="Number of labels to list, the most probable first.")]


class ClassifyRequest(_StrictModel):
    """Texts to classify."""

    texts: list[str] = Field(min_length=1, examples=[[_TEXT_EXAMPLE]])
    top_k: TopK = 1


class ExplainRequest(_StrictModel):
    """One text to classify and explain."""

    text: str = Field(examples=[_TEXT_EXAMPLE])
    label: str | None = Field(default=None, description="Label to explain; the predicted label by default.")


class FeedbackRequest(_StrictModel):
    """The correct label of a text that was classified before."""

    request_id: str = Field(min_length=1, max_length=128, description="X-Request-Id of the response.")
    label: str = Field(description="Correct label.")
    index: int = Field(default=0, ge=0, description="Index of the text in its request.")
    model: str | None = Field(default=None, description="Model; required if the server serves several models.")


class HubParameters(_StrictModel):
    """Parameters of the text-classification pipeline of transformers."""

    top_k: TopK | None = None
    function_to_apply: Annotated[str, Field(pattern="^softmax$")] | None = None


class HubRequest(BaseModel):
    """Text-classification request in Hugging Face's format."""

    model_config = ConfigDict(extra="ignore", strict=True)

    inputs: str | list[str] = Field(examples=[_TEXT_EXAMPLE])
    parameters: HubParameters | None = None


class _LenientModel(BaseModel):
    """Model that ignores unknown keys, because Open Inference clients send parameters of their own."""

    model_config = ConfigDict(extra="ignore")


class Parameters(_LenientModel):
    """Parameters of the binary tensor data extension."""

    binary_data_size: int | None = Field(default=None, ge=0)
    binary_data: bool | None = None
    binary_data_output: bool = False


class InputTensor(_LenientModel):
    """Input tensor with the texts."""

    name: str = Field(examples=["text"])
    datatype: str = Field(examples=["BYTES"])
    shape: list[int] = Field(examples=[[1]])
    data: list[Any] | None = Field(default=None, examples=[[_TEXT_EXAMPLE]])
    parameters: Parameters = Parameters()


class RequestedOutput(_LenientModel):
    """Output tensor that the client requests."""

    name: str
    parameters: Parameters = Parameters()


class InferRequest(_LenientModel):
    """Inference request of the Open Inference Protocol."""

    id: str | None = Field(default=None, max_length=128)
    inputs: list[InputTensor]
    outputs: list[RequestedOutput] = []
    parameters: Parameters = Parameters()


def _object(**properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: JsonSchema) -> JsonSchema:
    return {"type": "array", "items": items}


_STRING, _NUMBER, _INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_BOOLEAN = {"type": "boolean"}
_ANSWERED_BY = {"model": _STRING, "version": _STRING, "request_id": _STRING}
_TENSOR = _object(name=_STRING, datatype=_STRING, shape=_array(_INTEGER))
_TOP_LABELS = _array(_object(label=_STRING, score=_NUMBER))

ERROR = _object(error={**_STRING, "example": "no model 'film' is served here; those that are: films"})

CLASSIFY_RESPONSE = _object(
    **_ANSWERED_BY,
    predictions=_array(_object(label=_STRING, score=_NUMBER, truncated=_BOOLEAN, top=_TOP_LABELS)),
)
EXPLAIN_RESPONSE = _object(
    **_ANSWERED_BY,
    label=_STRING,
    score=_NUMBER,
    truncated=_BOOLEAN,
    method=_STRING,
    words=_array(_object(start=_INTEGER, end=_INTEGER, text=_STRING, contribution=_NUMBER)),
)
HUB_RESPONSE = _array(_TOP_LABELS)
FEEDBACK_RESPONSE = _object(accepted=_BOOLEAN)
MODELS_RESPONSE = _object(
    models=_array(_object(name=_STRING, channel=_STRING, version=_STRING, labels=_array(_STRING)))
)

SERVER_METADATA = _object(name=_STRING, version=_STRING, extensions=_array(_STRING))
SERVER_LIVE = _object(live=_BOOLEAN)
SERVER_READY = _object(ready=_BOOLEAN)
MODEL_METADATA = _object(
    name=_STRING, versions=_array(_STRING), platform=_STRING, inputs=_array(_TENSOR), outputs=_array(_TENSOR)
)
MODEL_READY = _object(name=_STRING, ready=_BOOLEAN)
INFER_RESPONSE = _object(model_name=_STRING, model_version=_STRING, id=_STRING, outputs=_array(_TENSOR))
REPOSITORY_INDEX = _array(_object(name=_STRING, version=_STRING, state=_STRING, reason=_STRING))
EMPTY_OBJECT: JsonSchema = {"type": "object"}
