"""Texts, answers and metadata of the Open Inference Protocol v2, the same over HTTP and gRPC.

In comes one tensor, ``text``, BYTES [n] or [n, 1]; out come those of ``output_metadata``. The raw form of a tensor is
the protocol's binary one: row-major, little-endian, and before each element of a BYTES tensor its length in 4 bytes.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textgate.serving.batching import BatchPrediction
from textgate.serving.errors import RequestError

Values = npt.NDArray[np.float64] | npt.NDArray[np.bool_] | list[str]


@dataclass(frozen=True)
class TensorMetadata:
    """What a tensor is, without its values; -1 in a shape is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tensor(TensorMetadata):
    """A tensor of an answer; ``values`` are strings where its datatype is BYTES."""

    values: Values

    def raw(self) -> bytes:
        """The binary form."""
        if isinstance(self.values, list):
            return encode_bytes_tensor(self.values)
        return self.values.astype(self.values.dtype.newbyteorder("<")).tobytes()

    def data(self) -> list[Any]:
        """The elements in row-major order, for JSON and for gRPC's typed contents."""
        return self.values if isinstance(self.values, list) else self.values.ravel().tolist()


INPUT = TensorMetadata("text", "BYTES", (-1,))
_OUTPUTS = ("label", "score", "probabilities", "truncated")


def output_metadata(labels: int) -> list[TensorMetadata]:
    """The tensors that a model of so many labels answers."""
    return [
        TensorMetadata("label", "BYTES", (-1,)),
        TensorMetadata("score", "FP64", (-1,)),
        TensorMetadata("probabilities", "FP64", (-1, labels)),
        TensorMetadata("truncated", "BOOL", (-1,)),
    ]


def count_texts(inputs: Sequence[TensorMetadata]) -> int:
    """How many texts the inputs of a request announce.

    Raises:
        RequestError: 400, they are not the one tensor of texts.
    """
    names = [tensor.name for tensor in inputs]
    if names != [INPUT.name]:
        given = ", ".join(map(repr, names)) or "none"
        raise RequestError(400, f"the input is to be one tensor, 'text', of BYTES; given: {given}")
    tensor = inputs[0]
    if tensor.datatype != INPUT.datatype:
        raise RequestError(400, f"the tensor 'text' is to be of datatype BYTES, not {tensor.datatype!r}")
    count, *rest = tensor.shape or (0,)
    if count < 1 or rest not in ([], [1]):
        shape = list(tensor.shape)
        raise RequestError(
            400, f"the tensor 'text' is to have the shape [n] or [n, 1] with n of at least 1, not {shape}"
        )
    return count


def decode_bytes_tensor(raw: bytes, count: int) -> list[str]:
    """The texts of a BYTES tensor in its binary form.

    Raises:
        RequestError: 400, it does not hold ``count`` elements to the byte, or one is not UTF-8.
    """
    elements: list[bytes] = []
    place = 0
    while place < len(raw) and len(elements) < count:
        start = place + 4
        place = start + int.from_bytes(raw[place:start], "little")
        if len(raw) < place:
            raise RequestError(400, f"the tensor 'text' ends within its element {len(elements)}")
        elements.append(raw[start:place])
    if len(elements) < count:
        raise RequestError(400, f"the tensor 'text' ends after {len(elements)} elements, where its shape says {count}")
    if place < len(raw):
        raise RequestError(
            400, f"the tensor 'text' has {len(raw) - place} bytes after the {count} elements of its shape"
        )
    return decode_elements(elements, count)


def decode_elements(elements: Sequence[bytes], count: int) -> list[str]:
    """The texts of a BYTES tensor whose elements are apart already.

    Raises:
        RequestError: 400, they are not ``count``, or one is not UTF-8.
    """
    if len(elements) != count:
        raise RequestError(400, f"the tensor 'text' has {len(elements)} elements, where its shape says {count}")
    texts = []
    for number, element in enumerate(elements):
        try:
            texts.append(element.decode("utf-8"))
        except UnicodeDecodeError as error:
            place = f"the element {number} of the tensor 'text' is not UTF-8"
            raise RequestError(400, f"{place}: {error.reason} at its byte {error.start}") from error
    return texts


def encode_bytes_tensor(texts: Iterable[str]) -> bytes:
    """A BYTES tensor in its binary form."""
    parts: list[bytes] = []
    for text in texts:
        element = text.encode("utf-8")
        parts += (len(element).to_bytes(4, "little"), element)
    return b"".join(parts)


def check_outputs(names: Iterable[str]) -> None:
    """Before anything is computed: whether the tensors a request asks for are there to be had.

    Raises:
        RequestError: 400, one is not.
    """
    for name in names:
        if name not in _OUTPUTS:
            raise RequestError(400, f"there is no output tensor {name!r}; there are: {', '.join(_OUTPUTS)}")


def output_tensors(answers: BatchPrediction, wanted: Collection[str] | None = None) -> list[Tensor]:
    """The answers as tensors, in the order of ``output_metadata``: all, or those ``wanted``."""
    probabilities = np.array(answers.probabilities)
    rows, labels = probabilities.shape
    values: dict[str, Values] = {
        "label": [answers.labels[number] for number in answers.chosen],
        "score": probabilities[np.arange(rows), answers.chosen],
        "probabilities": probabilities,
        "truncated": np.array(answers.truncated),
    }
    return [
        Tensor(tensor.name, tensor.datatype, (rows, *tensor.shape[1:]), values[tensor.name])
        for tensor in output_metadata(labels)
        if not wanted or tensor.name in wanted
    ]
