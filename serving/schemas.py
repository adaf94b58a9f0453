"""Types of the JSON bodies that the routes read, and JSON schemas of the bodies that they return.

msgspec decodes a body into these types directly: it stops at the first value that does not match, skips unknown keys
without building them, and never builds a tree of the whole body. Lists that a request needs once or twice are typed as
tuples and arrays of fixed length, which msgspec enforces element by element.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

JsonSchema = dict[str, Any]

_TEXT_EXAMPLE = "You Won't Believe What Happened Next"
_MAX_INT32, _MAX_INT64 = 2**31 - 1, 2**63 - 1

Text = Annotated[str, Meta(examples=[_TEXT_EXAMPLE])]
TopK = Annotated[
    int,
    Meta(ge=1, le=_MAX_INT32, description="Number of labels to list: the predicted one, then by probability."),
]
Label = Annotated[str, Meta(max_length=10_000)]
ModelName = Annotated[str, Meta(max_length=256, description="Model; required if the server serves several models.")]
Size = Annotated[int, Meta(ge=-_MAX_INT64, le=_MAX_INT64)]
Name = Annotated[str, Meta(max_length=256)]
RequestId = Annotated[str, Meta(max_length=128)]


class _StrictType(Struct, forbid_unknown_fields=True):
    """Type that rejects unknown keys."""


class _LenientType(Struct):
    """Type that ignores unknown keys, because clients of the format send parameters of their own."""


class ClassifyRequest(_StrictType):
    """Texts to classify."""

    texts: Annotated[list[str], Meta(min_length=1, examples=[[_TEXT_EXAMPLE]])]
    top_k: TopK = 1


class ExplainRequest(_StrictType):
    """One text to classify and explain."""

    text: Text
    label: Annotated[Label, Meta(description="Label to explain; the predicted label by default.")] | None = None


class FeedbackRequest(_StrictType):
    """The correct label of a text that was classified before."""

    request_id: Annotated[str, Meta(min_length=1, max_length=128, description="X-Request-Id of the response.")]
    label: Annotated[Label, Meta(description="Correct label.")]
    index: Annotated[int, Meta(ge=0, le=_MAX_INT32, description="Index of the text in its request.")] = 0
    model: ModelName | None = None


class HubParameters(_StrictType):
    """Parameters of the text-classification pipeline of transformers."""

    top_k: TopK | None = None
    function_to_apply: Literal["softmax"] | None = None


class HubRequest(_LenientType):
    """Text-classification request in Hugging Face's format."""

    inputs: Text | list[str]
    parameters: HubParameters | None = None


class TeiRequest(_LenientType):
    """Request in the format of Text Embeddings Inference, plus the name of the model."""

    inputs: Annotated[
        Text | list[str | Annotated[list[str], Meta(min_length=1, max_length=2)]],
        Meta(description="A string, or several as [[string], [string], …]."),
    ]
    raw_scores: bool | None = None
    truncate: Annotated[bool | None, Meta(description="False rejects a text that the model would truncate.")] = None
    model: ModelName | None = None


class VllmRequest(_LenientType):
    """Request in the format of vLLM's Classification API."""

    input: Text | list[str]
    model: ModelName | None = None
    use_activation: bool | None = None


class Parameters(_LenientType):
    """Parameters of the binary tensor data extension, and MLServer's content type."""

    binary_data_size: Annotated[int, Meta(ge=0, le=_MAX_INT64)] | None = None
    binary_data: bool | None = None
    binary_data_output: bool | None = None
    content_type: Annotated[str, Meta(max_length=128, description="Of a tensor: str or base64.")] | None = None


class Shape(Struct, array_like=True):
    """Shape of a tensor; the first three dimensions are read."""

    rows: Size
    columns: Size | None = None
    depth: Size | None = None

    def __iter__(self) -> Iterator[int]:
        """Yield the size of each dimension."""
        return (size for size in (self.rows, self.columns, self.depth) if size is not None)


class InputTensor(_LenientType):
    """Input tensor with the texts."""

    name: Annotated[Name, Meta(examples=["text"])]
    datatype: Annotated[Name, Meta(examples=["BYTES"])]
    shape: Annotated[Shape, Meta(examples=[[1]])]
    data: Annotated[list[str | tuple[str]], Meta(examples=[[_TEXT_EXAMPLE]])] | None = None
    parameters: Parameters | None = None


class RequestedOutput(_LenientType):
    """Output tensor that the client requests."""

    name: Name
    parameters: Parameters | None = None


class InferRequest(_LenientType):
    """Inference request of the Open Inference Protocol."""

    inputs: tuple[InputTensor]
    outputs: list[RequestedOutput] | None = None
    id: RequestId | None = None
    parameters: Parameters | None = None


def _object(**properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: JsonSchema) -> JsonSchema:
    return {"type": "array", "items": items}


_STRING, _NUMBER, _INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_BOOLEAN = {"type": "boolean"}
_ANSWERED_BY = {"model": _STRING, "version": _STRING, "request_id": _STRING}
_TENSOR = _object(name=_STRING, datatype=_STRING, shape=_array(_INTEGER))
_TENSOR_CONFIG = _object(name=_STRING, data_type=_STRING, dims=_array(_INTEGER))
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
TEI_RESPONSE: JsonSchema = {"anyOf": [_TOP_LABELS, _array(_TOP_LABELS)]}
TEI_INFO = _object(
    model_id=_STRING,
    model_sha=_STRING,
    model_type=_object(classifier=_object(id2label={"type": "object"}, label2id={"type": "object"})),
    max_input_length={"type": ["integer", "null"]},
    max_client_batch_size=_INTEGER,
    auto_truncate=_BOOLEAN,
    version=_STRING,
)
VLLM_RESPONSE = _object(
    id=_STRING,
    object=_STRING,
    created=_INTEGER,
    model=_STRING,
    data=_array(_object(index=_INTEGER, label=_STRING, probs=_array(_NUMBER), num_classes=_INTEGER)),
    usage=_object(prompt_tokens=_INTEGER, total_tokens=_INTEGER, completion_tokens=_INTEGER),
)
FEEDBACK_RESPONSE = _object(accepted=_BOOLEAN)
MODELS_RESPONSE = _object(
    models=_array(
        _object(
            name=_STRING,
            channel=_STRING,
            version=_STRING,
            labels=_array(_STRING),
            max_tokens={"type": ["integer", "null"]},
            test_f1={"type": ["number", "null"]},
        )
    ),
    refused=_array(_object(name=_STRING, channel=_STRING, version=_STRING, reason=_STRING)),
)

SERVER_METADATA = _object(name=_STRING, version=_STRING, extensions=_array(_STRING))
SERVER_LIVE = _object(live=_BOOLEAN)
SERVER_READY = _object(ready=_BOOLEAN)
MODEL_METADATA = _object(
    name=_STRING, versions=_array(_STRING), platform=_STRING, inputs=_array(_TENSOR), outputs=_array(_TENSOR)
)
MODEL_READY = _object(name=_STRING, ready=_BOOLEAN)
INFER_RESPONSE = _object(model_name=_STRING, model_version=_STRING, id=_STRING, outputs=_array(_TENSOR))
MODEL_CONFIG = _object(
    name=_STRING,
    platform=_STRING,
    backend=_STRING,
    max_batch_size=_INTEGER,
    input=_array(_TENSOR_CONFIG),
    output=_array(_TENSOR_CONFIG),
)
MODEL_STATISTICS = _object(
    model_stats=_array(
        _object(
            name=_STRING,
            version=_STRING,
            inference_count=_INTEGER,
            execution_count=_INTEGER,
            inference_stats={"type": "object"},
        )
    )
)
REPOSITORY_INDEX = _array(_object(name=_STRING, version=_STRING, state=_STRING, reason=_STRING))
EMPTY_OBJECT: JsonSchema = {"type": "object"}
TEXT: JsonSchema = {"type": "string"}
