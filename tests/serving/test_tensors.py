import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textgate.serving.batch import BatchPrediction
from textgate.serving.errors import RequestError
from textgate.serving.tensors import (
    TensorMetadata,
    check_outputs,
    count_texts,
    decode_bytes_tensor,
    decode_elements,
    encode_bytes_tensor,
    output_metadata,
    output_tensors,
)

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8)
PREDICTION = BatchPrediction(
    "films",
    "605127f62e6b",
    ["bad", "gôod", "漢"],
    [1, 2],
    [[0.25, 0.5, 0.25], [0.1, 0.3, 0.6]],
    [False, True],
)


@settings(deadline=None, max_examples=50)
@given(TEXTS)
def test_texts_survive_the_binary_form(texts: list[str]) -> None:
    assert decode_bytes_tensor(encode_bytes_tensor(texts), len(texts)) == texts


def test_the_binary_form_is_that_of_the_protocol() -> None:
    assert encode_bytes_tensor(["a", "", "é"]) == b"\x01\0\0\0a" + b"\0\0\0\0" + b"\x02\0\0\0\xc3\xa9"


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=40), st.integers(1, 5))
@example(b"\xff\xff\xff\xff", 1)
@example(b"\x01\0\0", 1)
@example(b"", 1)
def test_any_bytes_are_decoded_completely_or_rejected_with_one_sentence(raw: bytes, count: int) -> None:
    try:
        texts = decode_bytes_tensor(raw, count)
    except RequestError as error:
        assert (error.status, error.message.count("'text'"), error.message.count("\n")) == (400, 1, 0)  # noqa: PT017
    else:
        assert len(texts) == count
        assert encode_bytes_tensor(texts) == raw


@settings(deadline=None, max_examples=50)
@given(TEXTS.filter(bool), st.data())
def test_a_truncated_tensor_or_one_with_extra_bytes_is_rejected(texts: list[str], data: st.DataObject) -> None:
    raw = encode_bytes_tensor(texts)
    with pytest.raises(RequestError, match=r"ends (within its element \d+|after \d+ elements)"):
        decode_bytes_tensor(raw[: data.draw(st.integers(0, len(raw) - 1))], len(texts))
    with pytest.raises(RequestError, match=rf"1 bytes after the {len(texts)} elements"):
        decode_bytes_tensor(raw + b"\0", len(texts))


def test_invalid_utf8_is_reported_with_its_element_and_byte() -> None:
    with pytest.raises(
        RequestError, match="the element 1 of the tensor 'text' is not UTF-8: invalid start byte at its byte 2"
    ):
        decode_elements([b"good", b"ab\xff"], 2)
    # A lone surrogate, as a careless client encodes it.
    with pytest.raises(RequestError, match="the element 0 of the tensor 'text' is not UTF-8"):
        decode_elements([b"\xed\xa0\x80"], 1)


def test_elements_in_base64_are_decoded() -> None:
    assert decode_elements([b"Z8O0b2Q=", b""], 2, "base64") == ["gôod", ""]
    assert decode_bytes_tensor(encode_bytes_tensor(["Z8O0b2Q="]), 1, "base64") == ["gôod"]
    assert decode_elements([b"Z8O0b2Q="], 1, "str") == ["Z8O0b2Q="]
    with pytest.raises(RequestError, match="the element 1 of the tensor 'text' is not base64") as caught:
        decode_elements([b"Z8O0b2Q=", b"no base64!"], 2, "base64")
    assert caught.value.status == 400
    with pytest.raises(RequestError, match="the element 0 of the tensor 'text' is not UTF-8"):
        decode_elements([b"/w=="], 1, "base64")
    with pytest.raises(RequestError, match="can be 'str' or 'base64', not 'pd'") as caught:
        decode_elements([b"good"], 1, "pd")
    assert caught.value.status == 422


def test_the_number_of_elements_is_checked() -> None:
    assert decode_elements([b"good", b""], 2) == ["good", ""]
    with pytest.raises(RequestError, match="the tensor 'text' has 1 elements, where its shape says 2"):
        decode_elements([b"good"], 2)


def test_a_shape_larger_than_the_data_is_rejected_without_allocating_memory() -> None:
    with pytest.raises(RequestError, match="ends after 0 elements, where its shape says 1099511627776"):
        decode_bytes_tensor(b"", 2**40)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_valid_shapes(shape: tuple[int, ...]) -> None:
    assert count_texts([TensorMetadata("text", "BYTES", shape)]) == 3


@pytest.mark.parametrize("shape", [(), (0,), (-1,), (1, 3), (3, 0), (3, 1, 1)])
def test_other_shapes_are_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"the shape \[n\] or \[n, 1\] with n of at least 1, not \["):
        count_texts([TensorMetadata("text", "BYTES", shape)])


@pytest.mark.parametrize(
    ("names", "datatype", "message"),
    [
        ([], "BYTES", "given: none"),
        (["texts"], "BYTES", "given: 'texts'"),
        (["text", "text"], "BYTES", "given: 'text', 'text'"),
        (["x" * 10_000] * 500_000, "BYTES", "given: 'x{100}', 'x{100}', 'x{100}'"),
        (["text"], "FP32", "of datatype BYTES, not 'FP32'"),
    ],
)
def test_other_inputs_are_rejected(names: list[str], datatype: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        count_texts([TensorMetadata(name, datatype, (1,)) for name in names])


def test_an_unknown_output_is_rejected() -> None:
    check_outputs(["label", "score", "probabilities", "truncated"])
    with pytest.raises(
        RequestError, match="no output tensor 'logits'; there are: label, score, probabilities, truncated"
    ):
        check_outputs(["label", "logits"])


def test_predictions_as_tensors() -> None:
    label, score, probabilities, truncated = output_tensors(PREDICTION)
    assert (label.datatype, label.shape, label.data()) == ("BYTES", (2,), ["gôod", "漢"])
    assert label.raw() == encode_bytes_tensor(["gôod", "漢"])
    assert (score.datatype, score.shape, score.data()) == ("FP64", (2,), [0.5, 0.6])
    assert probabilities.shape == (2, 3)
    assert probabilities.data() == [0.25, 0.5, 0.25, 0.1, 0.3, 0.6]
    assert probabilities.raw() == np.array(probabilities.data(), dtype="<f8").tobytes()
    assert (truncated.datatype, truncated.data(), truncated.raw()) == ("BOOL", [False, True], b"\0\1")
    assert [tensor.name for tensor in output_tensors(PREDICTION, {"score", "label"})] == ["label", "score"]
    assert [tensor.shape[1:] for tensor in output_tensors(PREDICTION)] == [
        tensor.shape[1:] for tensor in output_metadata(3)
    ]
