"""Ten thousand malformed requests, and valid requests at the same time."""

import json
import random
import socket
import threading
from collections import Counter
from urllib.parse import urlsplit

import pytest
from serving.server_process import ServerProcess

GOOD = json.dumps({"texts": ["word1 good"]}).encode("utf-8")
PATHS = [
    "/v1/models/small:classify",
    "/v1/models/small:explain",
    "/models/small",
    "/v1/feedback",
    "/v2/models/small/infer",
    "/v2/models/%00/infer",
    "/v2/repository/models/../load",
    "/\u00e9",
]
VALUES: list[object] = [
    *(
        None,
        True,
        -1,
        10**400,
        1e308,
        "",
        "\x00",
        "\x1b[2J",
        "a" * 70_000,
        [],
        {},
        [[]],
        [[["a"]]],
        ["a", 1],
        {"a": {}},
    ),
]


def fuzzed_request(rng: random.Random) -> bytes:
    """Return the bytes of one request, which is usually malformed."""
    tensor = {
        "name": rng.choice(["text", *VALUES]),
        "datatype": rng.choice(["BYTES", "FP32", *VALUES]),
        "shape": rng.choice([[1], [2], [-1], [2**63], [], *VALUES]),
        "data": rng.choice([["a"], *VALUES]),
        "parameters": rng.choice([{}, {"binary_data_size": rng.choice([0, 5, 2**70, -1, "a"])}, *VALUES]),
    }
    body = json.dumps(
        rng.choice(
            [
                {"texts": rng.choice(VALUES), "top_k": rng.choice(VALUES)},
                {"text": rng.choice(VALUES), "label": rng.choice(VALUES)},
                {"inputs": rng.choice([[tensor], [tensor, tensor], *VALUES]), "outputs": rng.choice(VALUES)},
                {"inputs": rng.choice(VALUES), "parameters": rng.choice(VALUES)},
                {"request_id": rng.choice(VALUES), "label": rng.choice(VALUES), "index": rng.choice(VALUES)},
                rng.choice(VALUES),
            ]
        )
    ).encode("utf-8")
    match rng.randrange(6):
        case 0:
            body = body[: rng.randrange(len(body) + 1)]
        case 1:
            position = rng.randrange(len(body) + 1)
            body = body[:position] + rng.randbytes(rng.randrange(1, 9)) + body[position:]
        case 2:
            body = b"[" * 20_000 + b"]" * 20_000
        case 3:
            body = b'{"texts": ["\xff\xfe\xc0\xaf\xed\xa0\x80"]}'
    length = len(body)
    headers = b"".join(
        rng.choice(
            [
                [],
                [b"Inference-Header-Content-Length: %d\r\n" % rng.choice([0, 1, length, length + 1, 2**70])],
                [b"Inference-Header-Content-Length: -1\r\n"],
                [b"X-Request-Id: \xff\x01\r\n"],
                [b"Content-Type: application/xml\r\n", b"Accept: */*;q=nan\r\n"],
                [b"Content-Encoding: gzip\r\n"],
                [b"Authorization: Bearer \xff\r\n"],
            ]
        )
    )
    method = rng.choice([b"POST", b"POST", b"POST", b"GET", b"PUT", b"OPTIONS", b"HEAD", b"BREW"])
    path = rng.choice(PATHS).encode("utf-8")
    head = b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n" % (
        *(method, path, length, headers),
    )
    if rng.random() < 0.05:
        head = head[: rng.randrange(len(head))] + rng.randbytes(4) + b"\r\n\r\n"
    return head + body


def send(address: tuple[str, int], request: bytes) -> int | None:
    """Send a request; return the status of the response, None if there is none within a moment.

    The server waits for the rest of a request that is cut off, and the client leaves before that.
    """
    received = b""
    with socket.create_connection(address, timeout=60) as connection:
        try:
            connection.sendall(request)
            connection.settimeout(0.2)
            while part := connection.recv(65_536):
                received += part
        except OSError:
            pass  # it may close before all has been sent
    return int(received.split(b" ", 2)[1]) if received else None


@pytest.mark.slow
def test_malformed_requests_crash_nothing_while_valid_ones_are_answered(server: ServerProcess) -> None:
    parts = urlsplit(server.http)
    assert parts.hostname is not None
    assert parts.port is not None
    address = (parts.hostname, parts.port)
    valid_statuses: list[int] = []
    done = threading.Event()

    def send_valid_requests() -> None:
        while not done.is_set():
            valid_statuses.append(server.classify(["word1 good"]).status_code)

    # Slow clients: an incomplete request line, incomplete headers, an incomplete body.
    halves = [b"PO", b"POST /v2 HTTP/1.1\r\nHo", b"POST /models/small HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"]
    slow = [socket.create_connection(address, timeout=60) for _ in range(99)]
    for index, connection in enumerate(slow):
        connection.sendall(halves[index % 3])
    valid_client = threading.Thread(target=send_valid_requests)
    valid_client.start()
    rng = random.Random(13)
    statuses = Counter(send(address, fuzzed_request(rng)) for _ in range(10_000))
    large = b"POST /models/small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + 100 * (
        b"100000\r\n" + b" " * 2**20 + b"\r\n"
    )
    statuses[send(address, large)] += 1
    done.set()
    valid_client.join()
    for connection in slow:
        connection.close()
    assert {status for status in statuses if status is not None and status >= 500} == set(), statuses
    assert statuses[200] < 2_000 < statuses[400] + statuses[422], statuses
    assert len(valid_statuses) > 50
    assert set(valid_statuses) == {200}
    assert server.process.poll() is None
    server.classify(["a"], headers={"X-Request-Id": "the-last-one"})
    server.wait_for("request", request_id="the-last-one")
    assert not [line for line in server.log_lines if line["event"] == "a request failed"]
