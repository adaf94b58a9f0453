"""Compressed bodies: inflated within the size limit, in memory proportional to it, or rejected."""

import gzip
import os
import zlib
from functools import cache

import pytest
from serving.hostile.http2 import Http2Connection
from serving.hostile.raw_http import GOOD, chunked, exchange, post
from serving.hostile.usage import usage
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow  # what they measure takes the machine for seconds

LIMIT = 8 * 2**20
"""Largest body, before and after inflating, by default."""
GZIPPED = gzip.compress(GOOD)


@cache
def zeros(gigabytes: float, wbits: int) -> bytes:
    """Return compressed zeros: about 1 MB for each GB."""
    compressor = zlib.compressobj(9, wbits=wbits)
    block = bytes(2**20)
    return b"".join(compressor.compress(block) for _ in range(int(gigabytes * 2**10))) + compressor.flush()


def raw_deflate(body: bytes) -> bytes:
    """Return a body compressed without a header, as some clients send it."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


def gzipped(size: int) -> bytes:
    """Return a request of ``size`` bytes, compressed."""
    return gzip.compress(GOOD[:-1].ljust(size - 1) + b"}")


CASES: dict[str, tuple[str, bytes, int]] = {
    "gzip": ("gzip", GZIPPED, 200),
    "gzip by its old name": ("x-gzip", GZIPPED, 200),
    "in capitals": ("GZIP", GZIPPED, 200),
    "zlib": ("deflate", zlib.compress(GOOD), 200),
    "identity": ("identity", GOOD, 200),
    "not compressed": ("gzip", GOOD, 400),
    "raw deflate": ("deflate", raw_deflate(GOOD), 400),
    "as large as allowed": ("gzip", gzipped(LIMIT), 200),
    "a byte larger": ("gzip", gzipped(LIMIT + 1), 413),
    "cut off": ("gzip", GZIPPED[:-9], 400),
    "without its checksum": ("gzip", GZIPPED[:-8], 400),
    "wrong checksum": ("gzip", GZIPPED[:-8] + b"12345678", 400),
    "header only": ("gzip", GZIPPED[:10], 400),
    "header with a name that does not end": ("gzip", b"\x1f\x8b\x08\x08" + bytes(6) + 1_000_000 * b"a", 400),
    "empty": ("gzip", b"", 400),
    "an empty member": ("gzip", gzip.compress(b""), 400),
    "two members": ("gzip", GZIPPED + GZIPPED, 400),
    "a hundred thousand empty members": ("gzip", 100_000 * gzip.compress(b""), 400),
    "bytes after the end": ("gzip", GZIPPED + b"a", 400),
    "zlib with a dictionary": ("deflate", b"\x78\xbb" + bytes(20), 400),
    "compressed twice": ("gzip, gzip", gzip.compress(GZIPPED), 415),
    "in two steps": ("deflate, gzip", gzip.compress(zlib.compress(GOOD)), 415),
    "Brotli": ("br", GOOD, 415),
    "Zstandard": ("zstd", GOOD, 415),
    "unknown": ("x-" + 5_000 * "a", GOOD, 415),
    "no encoding": ("", GOOD, 415),
    "a list with nothing": (",", GOOD, 415),
}


@pytest.mark.parametrize("case", CASES)
def test_content_encoding(server: ServerProcess, case: str) -> None:
    encoding, body, expected = CASES[case]
    for data in (
        post(body, f"Content-Encoding: {encoding}"),
        chunked(body, headers=(f"Content-Encoding: {encoding}",)),
    ):
        answer = exchange(server, data)
        assert answer
        assert answer.status == expected, answer.body
        assert answer.headers["accept-encoding"] == ("gzip, deflate" if expected == 415 else None)
        assert len(answer.body) < 1_000


def test_two_encoding_headers_are_one_list(server: ServerProcess) -> None:
    answer = exchange(server, post(gzip.compress(GZIPPED), "Content-Encoding: gzip", "Content-Encoding: gzip"))
    assert answer
    assert answer.status == 415


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS | 16, zlib.MAX_WBITS], ids=["gzip", "zlib"])
@pytest.mark.parametrize("gigabytes", [0.1, pytest.param(1.0, marks=pytest.mark.slow)])
def test_bombs(server: ServerProcess, wbits: int, gigabytes: float) -> None:
    bomb = zeros(gigabytes, wbits)
    encoding = "gzip" if wbits > zlib.MAX_WBITS else "deflate"
    with usage(server) as used:
        answer = exchange(server, post(bomb, f"Content-Encoding: {encoding}"))
    assert answer
    assert answer.status == 413
    # One buffer of the limit, which grows while it is filled, whatever the bomb would become.
    assert used.peak_bytes <= 2 * LIMIT + 2 * len(bomb) + 4 * 2**20, used
    assert used.cpu_seconds <= 0.3, used


def test_many_bombs_at_the_same_time(server: ServerProcess) -> None:
    bomb = zeros(0.1, zlib.MAX_WBITS | 16)[:9_000]
    streams = range(1, 201, 2)
    with usage(server) as used, Http2Connection(server) as connection:
        connection.wait_for_window(len(streams) * len(bomb))
        for stream in streams:
            connection.classify(stream, ("content-encoding", "gzip"), body=bomb)
        assert {connection.outcome(stream) for stream in streams} == {413}
    # A few threads inflate (``asyncio.to_thread``); the other bodies wait as they arrived.
    threads = min(32, (os.cpu_count() or 1) + 4)
    assert used.peak_bytes <= len(streams) * len(bomb) + 2 * threads * LIMIT + 32 * 2**20, used
    assert used.left_bytes <= threads * LIMIT, used


def test_many_small_compressed_bodies_at_the_same_time(server: ServerProcess) -> None:
    streams = range(1, 201, 2)
    with Http2Connection(server) as connection:
        for stream in streams:
            connection.classify(stream, ("content-encoding", "gzip"), body=GZIPPED)
        assert [connection.outcome(stream) for stream in streams] == 100 * [200]
