"""Texts that are made to cost more than others of their length, and bytes that are no text."""

import json

import pytest
from serving.hostile.raw_http import CLASSIFY, exchange, post
from serving.hostile.usage import usage
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow  # what they measure takes the machine for seconds

EXPLAIN, INFER = "/v1/models/small:explain", "/v2/models/small/infer"
CPU_MICROSECONDS_PER_BYTE = 1.5
"""CPU time for each byte of a body, with the tiny model of these tests: tokenization and prediction."""
CPU_SLACK = 0.3
MEMORY_PER_BYTE, MEMORY_SLACK = 5, 32 * 2**20
"""Bytes of memory for each byte of a body, and for all requests together."""

_MARKS = "".join(map(chr, [0x0345, 0x035C, 0x0315, 0x0301, 0x0345, 0x0323, 0x031B, 0x0338, 0x0327, 0x05B0]))
TEXTS = {
    "marks in falling class": lambda size: "a" + "".join(sorted(size // 2 * "\u0345\u0301")[::-1]),
    "marks of many classes": lambda size: "a" + (size // len(_MARKS) * _MARKS),
    "marks on every letter": lambda size: size // 4 * "a\u0345\u0301\u0323",
    "marks in long runs": lambda size: size // 500 * ("a" + 499 * "\u0323")[::-1],
    "kana marks": lambda size: size // 2 * "\u304b\u3099",
    "Hangul": lambda size: size // 3 * "\u1112\u1161\u11ab",
    "ligatures that expand": lambda size: size * "\ufdfa",
    "one word": lambda size: size * "a",
    "words of one letter": lambda size: size // 2 * "a ",
    "unknown characters": lambda size: size * "\U0001f9d1",
    "joined emoji": lambda size: size // 2 * "\U0001f9d1\u200d",
    "CJK": lambda size: size * "\u6f22",
    "Thai": lambda size: size // 2 * "\u0e01\u0e33",
    "blanks": lambda size: size * " ",
    "line ends": lambda size: size * "\r",
    "control characters": lambda size: size * "\x07",
    "direction marks": lambda size: size * "\u202e",
    "private use": lambda size: size * "\ue000",
    "punctuation": lambda size: size * "(",
    "NUL": lambda size: size * "\0",
}


@pytest.mark.parametrize("size", [50_000, 100_000])
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("path", [CLASSIFY, EXPLAIN])
def test_cost_of_a_text(server: ServerProcess, path: str, name: str, size: int) -> None:
    text = TEXTS[name](size)[:100_000]
    body = json.dumps({"texts": [text]} if path == CLASSIFY else {"text": text}).encode("utf-8")
    with usage(server) as used:
        answer = exchange(server, post(body, path=path))
    assert answer
    assert answer.status == 200, answer.body[:300]
    assert used.cpu_seconds <= 1e-6 * CPU_MICROSECONDS_PER_BYTE * len(body) + CPU_SLACK, used
    assert used.peak_bytes <= MEMORY_PER_BYTE * len(body) + MEMORY_SLACK, used


@pytest.mark.parametrize(
    "name", [name if name in ("kana marks", "blanks") else pytest.param(name, marks=pytest.mark.slow) for name in TEXTS]
)
def test_cost_of_many_texts(server: ServerProcess, name: str) -> None:
    text = TEXTS[name](10_000).encode("utf-8")[:7_000].decode("utf-8", "ignore")
    escaped = len(json.dumps(text, ensure_ascii=False).encode("utf-8"))
    count = min(1_024, 8_000_000 // escaped)
    body = json.dumps({"texts": count * [text]}, ensure_ascii=False).encode("utf-8")
    with usage(server) as used:
        answer = exchange(server, post(body))
    assert answer
    assert answer.status in (200, 504), answer.body[:300]  # more than 5 s on a busy machine
    assert used.peak_bytes <= MEMORY_PER_BYTE * len(body) + MEMORY_SLACK, used
    assert used.cpu_seconds <= 1e-6 * CPU_MICROSECONDS_PER_BYTE * len(body), used


NOT_TEXT = {
    "half of a surrogate pair, escaped": (b'{"texts": ["\\ud800"]}', 400),
    "surrogates in the wrong order": (b'{"texts": ["\\udc00\\ud800"]}', 400),
    "a surrogate in UTF-8": (b'{"texts": ["\xed\xa0\x80"]}', 400),
    "a surrogate pair, escaped": (b'{"texts": ["\\ud83d\\ude00"]}', 200),
    "Latin-1": (b'{"texts": ["caf\xe9"]}', 400),
    "an overlong slash": (b'{"texts": ["\xc0\xaf"]}', 400),
    "beyond Unicode": (b'{"texts": ["\xf4\x90\x80\x80"]}', 400),
    "a cut character": (b'{"texts": ["\xe2\x82"]}', 400),
    "a byte order mark": (b'\xef\xbb\xbf{"texts": ["a"]}', 400),
    "UTF-16": ('{"texts": ["a"]}'.encode("utf-16"), 400),
    "UTF-16 without a mark": ('{"texts": ["a"]}'.encode("utf-16-le"), 400),
    "UTF-32": ('{"texts": ["a"]}'.encode("utf-32"), 400),
    "a control character": (b'{"texts": ["\x01"]}', 400),
    "a line end": (b'{"texts": ["\n"]}', 400),
    "NaN": (b'{"texts": ["a"], "top_k": NaN}', 400),
    "Infinity": (b'{"texts": ["a"], "top_k": -Infinity}', 400),
    "a leading zero": (b'{"texts": ["a"], "top_k": 01}', 400),
    "hexadecimal": (b'{"texts": ["a"], "top_k": 1x0}', 400),
    "a fraction": (b'{"texts": ["a"], "top_k": 1.5}', 422),
    "a boolean": (b'{"texts": ["a"], "top_k": true}', 422),
    "a number as text": (b'{"texts": ["a"], "top_k": "1"}', 422),
    "single quotes": (b"{'texts': ['a']}", 400),
    "a comment": (b'{"texts": ["a"]} // b', 400),
    "a comma too many": (b'{"texts": ["a",]}', 400),
    "two documents": (b'{"texts": ["a"]} {"texts": ["b"]}', 400),
    "an unknown escape": (b'{"texts": ["\\x41"]}', 400),
    "cut off": (b'{"texts": ["a"', 400),
    "a string": (b'"texts"', 422),
    "null": (b"null", 422),
    "nothing": (b"", 400),
}


@pytest.mark.parametrize("name", NOT_TEXT)
def test_json_is_utf_8_as_rfc_8259_says(server: ServerProcess, name: str) -> None:
    body, expected = NOT_TEXT[name]
    answer = exchange(server, post(body))
    assert answer
    assert answer.status == expected, answer.body
    assert expected == 200 or "Traceback" not in answer.error


def binary(*elements: bytes, size: int | None = None, shape: str | None = None, header: str | None = None) -> bytes:
    """Return a request whose tensor has binary elements, each with its length; its numbers may lie."""
    raw = b"".join(elements)
    start = (
        f'{{"inputs": [{{"name": "text", "datatype": "BYTES", "shape": {shape or [len(elements)]}, '
        f'"parameters": {{"binary_data_size": {len(raw) if size is None else size}}}}}]}}'
    ).encode()
    length = f"Inference-Header-Content-Length: {len(start) if header is None else header}"
    return post(start + raw, "Content-Type: application/octet-stream", length, path=INFER)


A = b"\x01\0\0\0a"
BINARY = {
    "valid": (binary(A, A), 200),
    "a length beyond the end": (binary(b"\xff\xff\xff\xffa"), 400),
    "a length that is cut off": (binary(A, b"\x01\0"), 400),
    "bytes after the last element": (binary(A, A, shape="[1]"), 400),
    "fewer elements than the shape": (binary(A, shape="[2]"), 400),
    "fewer bytes than announced": (binary(A, size=6), 400),
    "more bytes than announced": (binary(A, size=4), 400),
    "a size beyond int64": (binary(A, size=2**64), 422),
    "a negative size": (binary(A, size=-1), 422),
    "no UTF-8": (binary(b"\x01\0\0\0\xff"), 400),
    "a surrogate": (binary(b"\x03\0\0\0\xed\xa0\x80"), 400),
    "an empty element": (binary(bytes(4)), 200),
    "a million empty elements": (binary(1_000_000 * bytes(4), shape="[1000000]"), 422),
    "1,024 empty elements": (binary(1_024 * bytes(4), shape="[1024]"), 200),
    "a million empty elements for one": (binary(1_000_000 * bytes(4)), 400),
    "header of 5,000 digits": (binary(A, header=5_000 * "9"), 400),
    "negative header": (binary(A, header="-1"), 400),
    "header beyond the body": (binary(A, header="100000"), 400),
    "header 0": (binary(A, header="0"), 400),
    "header in other digits": (binary(A, header="\u00b2\u0663"), 400),
    "no header": (binary(A, header=""), 400),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_tensors(server: ServerProcess, name: str) -> None:
    data, expected = BINARY[name]
    with usage(server) as used:
        answer = exchange(server, data)
    assert answer
    assert answer.status == expected, answer.body
    assert used.peak_bytes <= MEMORY_PER_BYTE * len(data) + MEMORY_SLACK, used
