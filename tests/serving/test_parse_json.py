"""Limits of JSON bodies: what a hostile body may cost, in memory and in time on the event loop."""

import time
import tracemalloc

import msgspec
import pytest
from msgspec import Struct

from textgate.serving.errors import RequestError
from textgate.serving.routing import parse_json
from textgate.serving.schemas import ClassifyRequest, FeedbackRequest, HubRequest, InferRequest, TeiRequest, VllmRequest

SIZE = 8 * 2**20
MEMORY_PER_BYTE = 6.0
SECONDS = 0.5
"""Far above the 0.06 s that the slowest body takes, because test machines are shared; lists of errors took 23 s."""


def filled(head: str, item: str, tail: str = "]}") -> bytes:
    """Return a body of ``SIZE`` bytes that repeats ``item``."""
    count = (SIZE - len(head) - len(tail)) // len(item.encode("utf-8"))
    return (head + (item * count).removesuffix(",") + tail).encode("utf-8")


TENSOR = '{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],'
# By name: the type, the arguments of filled(), and the status.
HOSTILE: dict[str, tuple[type[Struct], tuple[str, ...], int]] = {
    "integers for texts": (ClassifyRequest, ('{"texts":[', "1,"), 422),
    "empty lists for texts": (ClassifyRequest, ('{"texts":[', "[],"), 422),
    "empty texts": (ClassifyRequest, ('{"texts":[', '"",'), 422),
    "short texts": (ClassifyRequest, ('{"texts":[', '"漢",'), 422),
    "texts of one backslash": (ClassifyRequest, ('{"texts":[', r'"\\",'), 422),
    "one text with wide characters": (ClassifyRequest, ('{"texts":["\U0001f600', "a", '"]}'), 200),
    "escapes": (ClassifyRequest, ('{"texts":["', r"\u0061", '"]}'), 200),
    "escaped quotes": (ClassifyRequest, ('{"texts":["', r"\"", '"]}'), 200),
    "unknown keys": (HubRequest, ('{"inputs":"a",', '"k":1,', "}"), 422),
    "an unknown list": (HubRequest, ('{"inputs":"a","x":[', "[],"), 200),
    "nested lists": (HubRequest, ('{"inputs":"a","x":[', "[" * 100 + "]" * 100 + ","), 200),
    "deeply nested lists": (HubRequest, ('{"inputs":"a","x":', "[", ""), 400),
    "a list that never ends": (HubRequest, ('{"inputs":["a"', " ", ""), 400),
    "a number of eight million digits": (ClassifyRequest, ('{"texts":["a"],"top_k":', "9", "}"), 422),
    "an unknown number": (HubRequest, ('{"inputs":"a","x":', "9", "}"), 200),
    "integers for pairs": (TeiRequest, ('{"inputs":[', "[1],"), 422),
    "empty lists for pairs": (TeiRequest, ('{"inputs":[', "[],"), 422),
    "token ids": (VllmRequest, ('{"input":[', "1,"), 422),
    "tensors": (InferRequest, ('{"inputs":[', '{"name":"","datatype":"","shape":[1]},'), 422),
    "empty tensors": (InferRequest, ('{"inputs":[', "{},"), 422),
    "a shape": (InferRequest, ('{"inputs":[{"name":"text","datatype":"BYTES","shape":[', "1,", "]}]}"), 200),
    "integers for elements": (InferRequest, (TENSOR + '"data":[', "1,", "]}]}"), 422),
    "lists for elements": (InferRequest, (TENSOR + '"data":[', "[],", "]}]}"), 422),
    "outputs": (InferRequest, (TENSOR + '"data":["a"]}],"outputs":[', '{"name":""},'), 422),
    "blanks": (ClassifyRequest, ("", " ", ""), 400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_costs_a_small_multiple_of_its_bytes(name: str) -> None:
    body_type, parts, expected = HOSTILE[name]
    body = filled(*parts)
    status = 200
    tracemalloc.start()
    started = time.thread_time()
    try:
        parse_json(body_type, body, max_texts=1_024)
    except RequestError as error:
        status = error.status
        assert len(error.message) <= 500  # noqa: PT017
    finally:
        seconds = time.thread_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert status == expected
    assert peak <= MEMORY_PER_BYTE * len(body)
    assert seconds < SECONDS


def test_the_limit_of_strings_rejects_no_request_within_the_limit_of_texts() -> None:
    texts = ['"', "\\", '\\"', "", '"quoted", "often"' * 1_000] * 200
    body = parse_json(ClassifyRequest, msgspec.json.encode({"texts": texts}), max_texts=1_000)
    assert body.texts == texts


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"request_id": "a", "label": "b", "index": 2147483648}', "index: Expected `int` <= 2147483647"),
        (b'{"request_id": "a", "label": "b", "index": -1}', "index: Expected `int` >= 0"),
        (b'{"request_id": "%b", "label": "b"}' % (b"a" * 129), "request_id: Expected `str` of length <= 128"),
        (b'{"request_id": "a", "label": "%b"}' % (b"a" * 10_001), "label: Expected `str` of length <= 10000"),
        (b'{"request_id": "a"}', "the body: Object missing required field `label`"),
        (b"[]", "the body: Expected `object`, got `array`"),
    ],
)
def test_a_message_names_the_place_and_the_limit(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_json(FeedbackRequest, body)
    assert (caught.value.status, caught.value.message) == (422, message)


def test_a_message_is_bounded_and_quotes_no_control_characters() -> None:
    key = r"\u001b[2J\u202e\n" + "x" * 10_000
    with pytest.raises(RequestError) as caught:
        parse_json(FeedbackRequest, b'{"%b": 1}' % key.encode("ascii"))
    assert r"unknown field `\x1b[2J\u202e\nxxx" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) == 500


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"texts":["\\ud800"]}', b'{"texts":["\xed\xa0\x80"]}', b"NaN"])
def test_what_is_not_json_is_rejected_with_400(body: bytes) -> None:
    with pytest.raises(RequestError, match="the body is not JSON") as caught:
        parse_json(ClassifyRequest, body)
    assert caught.value.status == 400
