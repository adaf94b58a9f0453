"""Requests that pages of other sites make a browser send to a server without keys, and who may use one with keys.

"OWASP Cross-Site Request Forgery Prevention Cheat Sheet"; Fetch Metadata; DNS rebinding.
"""

import json
from urllib.parse import urlsplit

import pytest
from serving.hostile.http2 import Http2Connection, head
from serving.hostile.raw_http import CLASSIFY, GOOD, Answer, Connection, exchange, get, post, request
from serving.server_process import ServerProcess

EVIL = "http://evil.example"
ROUTES = {
    "/v1/models": "GET",
    "/v2": "GET",
    "/v2/models/small": "GET",
    "/v2/models/small/ready": "GET",
    "/v2/repository/index": "GET",
    "/metrics": "GET",
    "/info": "GET",
    CLASSIFY: "POST",
    "/v1/models/small:explain": "POST",
    "/models/small": "POST",
    "/v1/feedback": "POST",
    "/v2/models/small/infer": "POST",
    "/v2/repository/models/small/unload": "POST",
    "/predict": "POST",
    "/classify": "POST",
}
"""Routes that a key protects if there are keys, and the site if there are none."""
PUBLIC = ["/", "/v2/health/live", "/v2/health/ready", "/openapi.json"]


def send(server: ServerProcess, path: str, *headers: str, method: str = "GET", host: str = "localhost") -> Answer:
    """Send a request, with a body if it is a POST."""
    body = GOOD if method == "POST" else b""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *([f"Content-Length: {len(body)}"] if body else [])]
    answer = exchange(server, request(lines, *headers) + body, method=method)
    assert answer
    return answer


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("[::1]", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("evil-localhost", 403),
        ("localhost.", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("evil.example#@localhost", 403),
        ("evil.example/localhost", 403),
        ("evil.example\\@localhost", 200),  # the same to a URL parser: user and host
        ("localhost, evil.example", 403),
        ("0.0.0.0", 403),
        ("127.1", 403),
        ("2130706433", 403),
        ("[::ffff:127.0.0.1]", 403),
        ("[::1", 403),
        ("::1", 403),
        ("", 403),
    ],
)
def test_the_server_answers_for_its_own_names_only(server: ServerProcess, host: str, expected: int) -> None:
    assert send(server, "/v1/models", host=host).status == expected
    assert send(server, CLASSIFY, method="POST", host=host).status == expected
    assert send(server, "/v2/health/live", host=host).status == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Origin: http://localhost"], 200),
        (["Origin: https://localhost"], 200),  # a proxy may add TLS
        (["Origin: HTTP://LOCALHOST"], 200),
        (["Origin: http://localhost", "Sec-Fetch-Site: same-origin"], 200),
        (["Sec-Fetch-Site: none"], 200),  # typed by the user
        ([f"Origin: {EVIL}"], 403),
        (["Origin: null"], 403),
        (["Origin:"], 403),
        (["Origin: http://localhost:8081"], 403),
        (["Origin: http://127.0.0.1"], 403),
        (["Origin: http://localhost.evil.example"], 403),
        (["Origin: http://localhost@evil.example"], 403),
        (["Origin: http://evil.example, http://localhost"], 403),
        (["Origin: http://localhost", f"Origin: {EVIL}"], 403),
        ([f"Origin: {EVIL}", "Origin: http://localhost"], 403),
        (["Origin: http://[::1"], 403),
        (["Origin: file://"], 403),
        (["Origin: chrome-extension://abcdef"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-site"], 403),  # another port of localhost
        (["Sec-Fetch-Site: unknown"], 403),
        (["Sec-Fetch-Site:"], 403),
        (["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: cross-site", "Origin: http://localhost"], 403),
        ([f"Origin: {EVIL}", "Sec-Fetch-Site: same-origin"], 403),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else str(value),
)
def test_a_page_of_another_site_is_rejected(server: ServerProcess, headers: list[str], expected: int) -> None:
    assert send(server, CLASSIFY, *headers, method="POST").status == expected
    answer = send(server, "/v1/models", *headers)
    assert answer.status == expected
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_but_the_public_ones_is_protected(server: ServerProcess, path: str) -> None:
    for headers, host in (([f"Origin: {EVIL}"], "localhost"), ([], "evil.example")):
        answer = send(server, path, *headers, method=ROUTES[path], host=host)
        assert answer.status == 403
        assert "champion" not in answer.error


@pytest.mark.parametrize("path", PUBLIC)
def test_public_routes_answer_anyone(server: ServerProcess, path: str) -> None:
    assert send(server, path, f"Origin: {EVIL}", "Sec-Fetch-Site: cross-site", host="evil.example").status == 200


@pytest.mark.parametrize("path", ROUTES)
def test_a_preflight_request_permits_nothing(server: ServerProcess, path: str) -> None:
    headers = [f"Origin: {EVIL}", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"]
    answer = send(server, path, *headers, method="OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert ROUTES[path] in answer.headers["allow"].split(", ")
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, 200),
        ("application/json", 200),
        ("APPLICATION/JSON; charset=utf-8", 200),
        ("application/problem+json", 200),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("text/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("application/jsonx", 415),
        ("application/octet-stream", 415),  # binary tensors have a route of their own
        ("", 415),
        ("*/*", 415),
        ("application/json, text/plain", 415),
    ],
)
def test_bodies_are_json(server: ServerProcess, content_type: str | None, expected: int) -> None:
    headers = [] if content_type is None else [f"Content-Type: {content_type}"]
    answer = send(server, CLASSIFY, *headers, method="POST")
    assert answer.status == expected
    assert answer.headers["accept"] == ("application/json" if expected == 415 else None)


def test_two_content_types_are_rejected(server: ServerProcess) -> None:
    headers = ["Content-Type: text/plain", "Content-Type: application/json"]
    assert send(server, CLASSIFY, *headers, method="POST").status == 415


@pytest.mark.parametrize(
    "path", [*PUBLIC, *(path for path in ROUTES if ROUTES[path] == "GET"), "/page.js", "/page.css", "/nowhere"]
)
def test_head_is_get_without_the_body(server: ServerProcess, path: str) -> None:
    with Connection(server) as connection:
        answers = [
            connection.send(request([f"{method} {path} HTTP/1.1", "Host: localhost", "X-Request-Id: same"])).answer(
                method
            )
            for method in ("GET", "HEAD", "GET")
        ]
    get_answer, head_answer, last = answers
    assert head_answer.body == b""
    assert last.status == get_answer.status == head_answer.status
    # The metrics count the request before, so their length may differ.
    varying = {"date", *(["content-length"] if path == "/metrics" else [])}
    assert described(get_answer, varying) == described(head_answer, varying)
    with Http2Connection(server) as http2:
        http2.request(1, head("HEAD", path))
        assert (http2.outcome(1), http2.bodies[1]) == (get_answer.status, b"")


def described(answer: Answer, varying: set[str]) -> list[tuple[str, str]]:
    """Return the headers but for those that vary."""
    return [(name, value) for name, value in answer.headers.items() if name not in varying]


@pytest.mark.parametrize("path", ["/", CLASSIFY, "/nowhere", "/v1/models"])
def test_answers_forbid_what_browsers_would_allow(server: ServerProcess, path: str) -> None:
    headers = send(server, path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Authorization: Bearer KEY"], 200),
        (["authorization: bearer KEY"], 200),
        (["X-API-Key: KEY"], 200),
        (["Authorization: Bearer KEY", f"Origin: {EVIL}", "Sec-Fetch-Site: cross-site"], 200),
        ([], 401),
        ([f"Origin: {EVIL}"], 401),
        (["Authorization: Bearer"], 401),
        (["Authorization: Bearer  KEY"], 401),
        (["Authorization: KEY"], 401),
        (["Authorization: Basic KEY"], 401),
        (["Authorization: Bearer KEY KEY"], 401),
        (["Authorization: Bearer KEY", "Authorization: Bearer KEY"], 401),
        (["Authorization: Bearer wrong", "X-API-Key: KEY"], 401),
        (["Authorization: Bearer \udcff\udcfe"], 401),
        (["Authorization: Bearer " + 60_000 * "a"], 401),
        (["X-API-Key: " + 60_000 * "\udcff"], 401),
        (["Cookie: key=KEY"], 401),
    ],
    ids=lambda value: (
        ", ".join(value)[:60].encode("ascii", "replace").decode() if isinstance(value, list) else str(value)
    ),
)
def test_with_keys_the_key_counts_and_not_the_site(
    secured_server: ServerProcess, secret_key: tuple[str, str], headers: list[str], expected: int
) -> None:
    headers = [header.replace("KEY", secret_key[0]) for header in headers]
    assert send(secured_server, CLASSIFY, *headers, method="POST", host="any.example").status == expected
    assert send(secured_server, "/", *headers, host="any.example").status == 200
    if expected == 200:
        unload = send(secured_server, "/v2/repository/models/small/unload", *headers, method="POST")
        assert unload.status == 403  # a user's key


@pytest.mark.parametrize(
    "data",
    [
        get("/v1/models", "Authorization: Bearer wrong"),
        post(b"", length=2**20),
        post(b"", "Expect: 100-continue", length=100),
        post(b"", "Content-Encoding: gzip", length=100),
    ],
    ids=["no body", "a body", "an expected body", "a compressed body"],
)
def test_without_the_key_no_body_is_read(secured_server: ServerProcess, data: bytes) -> None:
    answer = exchange(secured_server, data)
    assert answer
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_error_names_the_way_out(server: ServerProcess) -> None:
    assert "--allowed-host NAME" in send(server, "/v1/models", host="evil.example").error
    answer = send(server, "/v1/models", host=60_000 * "a")
    assert answer.status == 403
    assert len(answer.body) < 1_000
    port = urlsplit(server.http).port
    page = send(server, CLASSIFY, f"Origin: http://localhost:{port}", method="POST", host=f"localhost:{port}")
    assert json.loads(page.body)["model"] == "small"
