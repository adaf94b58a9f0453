"""Encoding and decoding of Open Inference Protocol v2 tensors, shared by HTTP and gRPC.

A request has one input tensor, ``text``, BYTES [n] or [n, 1]; a response has the tensors of ``output_metadata``. In
the protocol's binary form a tensor is row-major and little-endian, and each element of a BYTES tensor is preceded by
its length in 4 bytes.
"""

import base64
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from textgate.serving.batch import BatchPrediction
from textgate.serving.errors import RequestError

Values = npt.NDArray[np.float64] | npt.NDArray[np.bool_] | list[str]


class InputTensor(Protocol):
    """Name, datatype and shape of an input tensor, as both JSON and protobuf requests have them."""

    @property
    def name(self) -> str:
        """Name of the tensor."""
        ...

    @property
    def datatype(self) -> str:
        """Datatype by its name in the protocol."""
        ...

    @property
    def shape(self) -> Iterable[int]:
        """Size of each dimension."""
        ...


@dataclass(frozen=True)
class TensorMetadata:
    """Name, datatype and shape of a tensor; -1 in a shape means any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tensor(TensorMetadata):
    """Output tensor; ``values`` are strings if its datatype is BYTES."""

    values: Values

    def raw(self) -> bytes:
        """Return the values in binary form."""
        if isinstance(self.values, list):
            return encode_bytes_tensor(self.values)
        return self.values.astype(self.values.dtype.newbyteorder("<")).tobytes()

    def data(self) -> list[Any]:
        """Return the values as a flat list in row-major order, for JSON and for gRPC's typed contents."""
        return self.values if isinstance(self.values, list) else self.values.ravel().tolist()


INPUT = TensorMetadata("text", "BYTES", (-1,))
_OUTPUTS = ("label", "score", "probabilities", "truncated")
_STR, _BASE64 = "str", "base64"
"""Content types that MLServer's codecs for strings and bytes write into a tensor's parameters."""


def output_metadata(label_count: int) -> list[TensorMetadata]:
    """Return the output tensors of a model with ``label_count`` labels."""
    return [
        TensorMetadata("label", "BYTES", (-1,)),
        TensorMetadata("score", "FP64", (-1,)),
        TensorMetadata("probabilities", "FP64", (-1, label_count)),
        TensorMetadata("truncated", "BOOL", (-1,)),
    ]


def count_texts(inputs: Iterable[InputTensor]) -> int:
    """Return the number of texts that the shape of a request's input tensor announces.

    Raises:
        RequestError: 400 if the inputs are not one tensor of texts.
    """
    tensors = list(islice(inputs, 3))
    names = [tensor.name for tensor in tensors]
    if names != [INPUT.name]:
        given = ", ".join(repr(name[:100]) for name in names) or "none"
        raise RequestError(400, f"the input must be one tensor, 'text', of BYTES; given: {given}")
    if tensors[0].datatype != INPUT.datatype:
        raise RequestError(400, f"the tensor 'text' must be of datatype BYTES, not {tensors[0].datatype[:100]!r}")
    shape = list(islice(tensors[0].shape, 3))
    count, *rest = shape or [0]
    if count < 1 or rest not in ([], [1]):
        raise RequestError(
            400, f"the tensor 'text' must have the shape [n] or [n, 1] with n of at least 1, not {shape}"
        )
    return count


def decode_bytes_tensor(raw: bytes, count: int, content_type: str | None = None) -> list[str]:
    """Decode a BYTES tensor from its binary form; see ``decode_elements``.

    Raises:
        RequestError: 400 if it is not exactly ``count`` elements long, or an element is not UTF-8.
    """
    elements: list[bytes] = []
    end = 0
    while end < len(raw) and len(elements) < count:
        start = end + 4
        end = start + int.from_bytes(raw[end:start], "little")
        if len(raw) < end:
            raise RequestError(400, f"the tensor 'text' ends within its element {len(elements)}")
        elements.append(raw[start:end])
    if len(elements) < count:
        raise RequestError(400, f"the tensor 'text' ends after {len(elements)} elements, where its shape says {count}")
    if end < len(raw):
        raise RequestError(400, f"the tensor 'text' has {len(raw) - end} bytes after the {count} elements of its shape")
    return decode_elements(elements, count, content_type)


def decode_elements(elements: Sequence[bytes], count: int, content_type: str | None = None) -> list[str]:
    """Decode the elements of a BYTES tensor.

    Args:
        elements: UTF-8 texts, or UTF-8 texts in base64.
        count: Number of elements.
        content_type: MLServer's content type of the tensor: ``str`` or ``base64``; None means ``str``.

    Raises:
        RequestError: 400 if there are not ``count`` elements, or one is not UTF-8 or not base64; 422 for another
            content type.
    """
    if len(elements) != count:
        raise RequestError(400, f"the tensor 'text' has {len(elements)} elements, where its shape says {count}")
    if content_type == _BASE64:
        elements = _decode_base64(elements)
    elif content_type not in (None, _STR):
        raise RequestError(
            422, f"content_type of the tensor 'text' can be {_STR!r} or {_BASE64!r}, not {content_type[:100]!r}"
        )
    texts = []
    for index, element in enumerate(elements):
        try:
            texts.append(element.decode("utf-8"))
        except UnicodeDecodeError as error:
            message = f"the element {index} of the tensor 'text' is not UTF-8"
            raise RequestError(400, f"{message}: {error.reason} at its byte {error.start}") from error
    return texts


def _decode_base64(elements: Iterable[bytes]) -> list[bytes]:
    decoded = []
    for index, element in enumerate(elements):
        try:
            decoded.append(base64.b64decode(element, validate=True))
        except ValueError as error:
            raise RequestError(400, f"the element {index} of the tensor 'text' is not base64: {error}") from error
    return decoded


def encode_bytes_tensor(texts: Iterable[str]) -> bytes:
    """Encode a BYTES tensor in its binary form."""
    parts: list[bytes] = []
    for text in texts:
        element = text.encode("utf-8")
        parts += (len(element).to_bytes(4, "little"), element)
    return b"".join(parts)


def check_outputs(names: Iterable[str]) -> None:
    """Check that the requested output tensors exist; to be called before anything is computed.

    Raises:
        RequestError: 400 if there is no such output tensor.
    """
    for name in names:
        if name not in _OUTPUTS:
            raise RequestError(400, f"there is no output tensor {name[:100]!r}; there are: {', '.join(_OUTPUTS)}")


def output_tensors(prediction: BatchPrediction, names: Collection[str] | None = None) -> list[Tensor]:
    """Return a prediction as tensors, in the order of ``output_metadata``.

    Args:
        prediction: Predictions for the texts of one request.
        names: The tensors to return; all if it is empty or None.
    """
    probabilities = np.array(prediction.probabilities)
    rows, label_count = probabilities.shape
    values: dict[str, Values] = {
        "label": [prediction.labels[index] for index in prediction.label_indices],
        "score": probabilities[np.arange(rows), prediction.label_indices],
        "probabilities": probabilities,
        "truncated": np.array(prediction.truncated),
    }
    return [
        Tensor(tensor.name, tensor.datatype, (rows, *tensor.shape[1:]), values[tensor.name])
        for tensor in output_metadata(label_count)
        if not names or tensor.name in names
    ]
