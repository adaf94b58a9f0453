"""Bodies that are made to cost more than they should: each has its answer, at a stated cost for each of its bytes.

The costs are those of the server's process: its peak of resident memory, and the CPU time of all its threads.
"""

from collections.abc import Callable

import pytest
from serving.hostile.raw_http import CLASSIFY, exchange, post
from serving.hostile.usage import usage
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow  # what they measure takes the machine for seconds

EXPLAIN, HUB, FEEDBACK = "/v1/models/small:explain", "/models/small", "/v1/feedback"
INFER, CLASSIFY_VLLM, PREDICT = "/v2/models/small/infer", "/classify", "/predict"
MEMORY_PER_BYTE = 5
"""Bytes of memory for each byte of a body."""
CPU_NANOSECONDS_PER_BYTE = 20
"""CPU time for each byte of a body: 0.16 s for the largest."""
MEMORY_SLACK, CPU_SLACK = 4 * 2**20, 0.1
"""What a request may cost whatever its size: the process grows, and CPU time is counted in units of 10 ms."""

Body = Callable[[], bytes]


def full(start: bytes, element: bytes, end: bytes, size: int = 8_000_000) -> Body:
    """Return a function that makes a body of about ``size`` bytes, in which an element is repeated."""
    return lambda: start + b",".join([element] * (size // (len(element) + 1))) + end


def text(content: str) -> Body:
    """Return a function that makes a body with one text."""
    return lambda: b'{"texts":["' + content.encode("utf-8") + b'"]}'


def tensor(more: bytes) -> bytes:
    """Return an inference request whose tensor has more members."""
    return b'{"inputs":[{"name":"text","datatype":"BYTES",' + more + b"}]}"


CASES: dict[str, tuple[str, Body, int]] = {
    "numbers for texts": (CLASSIFY, full(b'{"texts":[', b"1", b"]}"), 422),
    "nulls for texts": (CLASSIFY, full(b'{"texts":[', b"null", b"]}"), 422),
    "objects for texts": (CLASSIFY, full(b'{"texts":[', b"{}", b"]}"), 422),
    "lists for texts": (CLASSIFY, full(b'{"texts":[', b"[]", b"]}"), 422),
    "empty texts": (CLASSIFY, full(b'{"texts":[', b'""', b"]}"), 422),
    "texts of one character": (CLASSIFY, full(b'{"texts":[', b'"a"', b"]}"), 422),
    "texts of an escaped quote": (CLASSIFY, full(b'{"texts":[', b'"\\""', b"]}"), 422),
    "texts of a backslash": (CLASSIFY, full(b'{"texts":[', b'"\\\\"', b"]}"), 422),
    "texts of an escape": (CLASSIFY, full(b'{"texts":[', b'"\\u0000"', b"]}"), 422),
    "too many texts": (CLASSIFY, full(b'{"texts":[', b'"a"', b"]}", 1_025 * 4), 422),
    "as many texts as allowed": (CLASSIFY, full(b'{"texts":[', b'"a"', b"]}", 1_024 * 4), 200),
    "numbers for inputs": (HUB, full(b'{"inputs":[', b"1", b"]}"), 422),
    "empty inputs": (HUB, full(b'{"inputs":[', b'""', b"]}"), 422),
    "numbers for input": (CLASSIFY_VLLM, full(b'{"input":[', b"1", b"]}"), 422),
    "empty input": (CLASSIFY_VLLM, full(b'{"input":[', b'""', b"]}"), 422),
    "pairs of inputs": (PREDICT, full(b'{"inputs":[', b'["",""]', b"]}"), 422),
    "lists of inputs": (PREDICT, full(b'{"inputs":[', b"[]", b"]}"), 422),
    "unknown keys": (CLASSIFY, full(b'{"texts":["a"],', b'"a":1', b"}"), 422),
    "different unknown keys": (
        HUB,
        lambda: b'{"inputs":"a",' + b",".join(b'"%d":0' % index for index in range(500_000)) + b"}",
        422,
    ),
    "one key a million times": (CLASSIFY, full(b'{"texts":["a"],', b'"top_k":1', b"}"), 422),
    "one list many times": (CLASSIFY, full(b"{", b'"texts":["a"]', b"}", 8_000), 200),
    "deep lists": (CLASSIFY, lambda: b'{"texts":' + 4_000_000 * b"[" + 4_000_000 * b"]" + b"}", 422),
    "deep objects": (HUB, lambda: b'{"a":' * 1_300_000 + b"1" + b"}" * 1_300_000, 422),
    "deep unknown lists": (HUB, lambda: b'{"inputs":"a","x":' + 4_000_000 * b"[" + 4_000_000 * b"]" + b"}", 400),
    "unknown numbers": (HUB, full(b'{"inputs":"a","x":[', b"1", b"]}"), 200),
    "unknown fractions": (HUB, full(b'{"inputs":"a","x":[', b"-1.7976931348623157e308", b"]}"), 200),
    "unknown lists": (HUB, full(b'{"inputs":"a","x":[', b"[]", b"]}"), 200),
    "open lists": (HUB, lambda: 8_000_000 * b"[", 422),
    "a number of a million digits": (CLASSIFY, lambda: b'{"texts":["a"],"top_k":' + 1_000_000 * b"9" + b"}", 422),
    "a fraction of a million digits": (CLASSIFY, lambda: b'{"texts":["a"],"top_k":0.' + 1_000_000 * b"9" + b"}", 422),
    "an exponent of a million digits": (CLASSIFY, lambda: b'{"texts":["a"],"top_k":1e' + 1_000_000 * b"9" + b"}", 422),
    "an unknown number of a million digits": (HUB, lambda: b'{"inputs":"a","x":' + 1_000_000 * b"9" + b"}", 200),
    "a large number of labels": (CLASSIFY, lambda: b'{"texts":["a"],"top_k":2147483647}', 200),
    "a larger number of labels": (CLASSIFY, lambda: b'{"texts":["a"],"top_k":2147483648}', 422),
    "a long label": (EXPLAIN, lambda: b'{"text":"a","label":"' + 8_000_000 * b"a" + b'"}', 422),
    "a text of 8 MB": (CLASSIFY, text(8_000_000 * "a"), 422),
    "a text of 8 MB of escapes": (CLASSIFY, text(1_300_000 * "\\u00e9"), 422),
    "a text of 100,001 characters": (CLASSIFY, text(100_001 * "a"), 422),
    "a text of 100,000 characters": (CLASSIFY, text(100_000 * "a"), 200),
    "blanks": (CLASSIFY, lambda: 8_000_000 * b" ", 400),
    "zeros": (CLASSIFY, lambda: 8_000_000 * b"\0", 400),
    "feedback for a text beyond int32": (
        FEEDBACK,
        lambda: b'{"request_id":"a","label":"good","index":2147483648}',
        422,
    ),
    "feedback for a text beyond int64": (FEEDBACK, lambda: b'{"request_id":"a","label":"good","index":1e30}', 422),
    "feedback for a negative text": (FEEDBACK, lambda: b'{"request_id":"a","label":"good","index":-1}', 422),
    "feedback with a long id": (FEEDBACK, lambda: b'{"label":"good","request_id":"' + 7_000_000 * b"a" + b'"}', 422),
    "feedback with an unknown label": (FEEDBACK, lambda: b'{"request_id":"a","label":"' + 9_000 * b"a" + b'"}', 422),
    "a shape of a million sizes": (INFER, lambda: tensor(b'"shape":[' + 1_000_000 * b"1," + b'1],"data":["a"]'), 400),
    "a shape that multiplies": (INFER, lambda: tensor(b'"shape":[9223372036854775807,2],"data":["a"]'), 400),
    "a shape beyond int64": (INFER, lambda: tensor(b'"shape":[9223372036854775808],"data":["a"]'), 422),
    "a negative shape": (INFER, lambda: tensor(b'"shape":[-1],"data":["a"]'), 400),
    "an empty shape": (INFER, lambda: tensor(b'"shape":[],"data":["a"]'), 422),
    "numbers in a tensor": (INFER, lambda: tensor(b'"shape":[1],"data":[' + 4_000_000 * b"1," + b"1]"), 422),
    "empty texts in a tensor": (INFER, lambda: tensor(b'"shape":[1],"data":[' + 2_700_000 * b'"",' + b'""]'), 422),
    "lists in a tensor": (INFER, lambda: tensor(b'"shape":[1,1],"data":[' + 1_600_000 * b'[""],' + b'[""]]'), 422),
    "a tensor of 100,000 rows": (INFER, lambda: tensor(b'"shape":[100000],"data":["a"]'), 422),
    "many tensors": (INFER, full(b'{"inputs":[', tensor(b'"shape":[1]')[11:-2], b"]}"), 422),
    "many outputs": (
        INFER,
        full(tensor(b'"shape":[1],"data":["a"]')[:-1] + b',"outputs":[', b'{"name":"label"}', b"]}"),
        422,
    ),
    "many empty outputs": (INFER, full(tensor(b'"shape":[1],"data":["a"]')[:-1] + b',"outputs":[', b"{}", b"]}"), 422),
    "a long tensor name": (INFER, lambda: b'{"inputs":[{"name":"' + 7_000_000 * b"a" + b'"}]}', 422),
}


@pytest.mark.parametrize("case", CASES)
def test_cost_of_a_body(server: ServerProcess, case: str) -> None:
    path, make, expected = CASES[case]
    body = make()
    with usage(server) as used:
        answer = exchange(server, post(body, path=path))
    assert answer
    assert answer.status == expected, answer.body[:300]
    assert used.peak_bytes <= MEMORY_PER_BYTE * len(body) + MEMORY_SLACK, used
    assert used.cpu_seconds <= 1e-9 * CPU_NANOSECONDS_PER_BYTE * len(body) + CPU_SLACK, used
    assert len(answer.body) < 20_000 or expected == 200
