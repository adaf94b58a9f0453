"""The HTTP door, as an ASGI application: reads a request within its limits, asks for its key, finds its route, answers.

It is plain ASGI (asgi.readthedocs.io), without a framework: there are twenty routes and no middleware, and a request
for one headline takes less time in the model than in most frameworks.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from textgate.serving.access import authorize
from textgate.serving.keys import Keys, Role
from textgate.serving.log import say
from textgate.serving.metrics import Metrics
from textgate.serving.refused import Refused
from textgate.serving.tracing import Tracing

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON = b"application/json"
_BODY_SECONDS = 30.0
"""Until the whole of a request's body must have come."""
_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# OWASP, "HTTP Headers Cheat Sheet"; the page has neither inline scripts nor anything from elsewhere.
_SECURITY = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


@dataclass(slots=True)
class Request:
    """One request; ``names`` are the parts of its path that a route leaves open."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    id: str
    names: dict[str, str] = field(default_factory=dict)
    answered_by: tuple[str, str] = ("", "")
    """Model and version, for the log and the metrics."""
    texts: int | None = None
    holder: str | None = None
    """Whose key came with it."""


@dataclass(slots=True)
class Response:
    """What is sent back."""

    body: bytes
    status: int = 200
    type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """``path`` may have parts in braces; ``role`` is what a key must have, None where none is asked."""

    method: str
    path: str
    handler: Handler
    role: Role | None = "user"


class Http:
    """The application over some routes."""

    def __init__(
        self, routes: Iterable[Route], keys: Keys | None, largest_body: int, metrics: Metrics, tracing: Tracing | None
    ) -> None:
        self._keys, self._largest_body, self._metrics, self._tracing = keys, largest_body, metrics, tracing
        self._fixed: dict[str, dict[str, Route]] = {}
        self._open: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            kind = patterns if "{" in route.path else self._fixed
            kind.setdefault(route.path, {})[route.method] = route
        for path, methods in patterns.items():
            # A name ends at a slash, or at the colon of a verb such as :classify.
            self._open.append((re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", path)), methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode("ascii") if _ID.fullmatch(given) else uuid.uuid4().hex
        request = Request(scope["method"], scope["path"], headers, b"", request_id)
        started = time.perf_counter()
        route: Route | None = None
        try:
            route = self._route(request)
            request.holder = authorize(self._keys, route.role, headers)
            request.body = await self._body(headers, receive)
            started = time.perf_counter()
            with self._tracing.span(route.path, headers) if self._tracing else nullcontext():
                response = await route.handler(request)
        except Refused as refused:
            response = _refusal(refused)
        except Exception as error:  # one request must not take the server with it
            say("a request failed", logging.ERROR, error, request_id=request.id, path=request.path)
            response = _refusal(Refused(500, "the server failed on this request; its log says how"))
        await _send(send, response, request.id)
        self._note(request, route, response, time.perf_counter() - started)

    def _route(self, request: Request) -> Route:
        methods = self._fixed.get(request.path)
        if methods is None:
            for pattern, found in self._open:
                if match := pattern.fullmatch(request.path):
                    methods, request.names = found, match.groupdict()
                    break
            else:
                raise Refused(404, f"there is nothing at {request.path[:200]}; /openapi.json lists what there is")
        route = methods.get(request.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise Refused(405, f"{request.path[:200]} takes {allowed}, not {request.method[:20]}", allow=allowed)
        return route

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        message = f"the body is larger than the {self._largest_body} bytes that it may have"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._largest_body:
            raise Refused(413, message)
        parts, size = [], 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise Refused(400, "the connection was closed before the request had come whole")
                    parts.append(event.get("body", b""))
                    size += len(parts[-1])
                    if size > self._largest_body:
                        raise Refused(413, message)
                    if not event.get("more_body"):
                        return b"".join(parts)
        except TimeoutError as error:
            raise Refused(408, f"the body did not come within {_BODY_SECONDS:.0f} s") from error

    def _note(self, request: Request, route: Route | None, response: Response, seconds: float) -> None:
        path = route.path if route else "none"
        self._metrics.requests.labels(*request.answered_by, path, str(response.status)).inc()
        if response.status < 400:
            self._metrics.request_seconds.labels(*request.answered_by, path).observe(seconds)
        model, version = request.answered_by
        say(
            "request",
            request_id=request.id,
            method=request.method[:20],
            route=path,
            status=response.status,
            ms=round(seconds * 1e3, 2),
            model=model or None,
            version=version or None,
            texts=request.texts,
            key=request.holder,
        )


def answer_json(value: Any, status: int = 200) -> Response:
    """``value`` as JSON."""
    return Response(to_json(value), status)


def _refusal(refused: Refused) -> Response:
    response = answer_json({"error": refused.message}, refused.status)
    if refused.allow:
        response.headers.append((b"allow", refused.allow.encode("ascii")))
    if refused.retry_after is not None:
        response.headers.append((b"retry-after", b"%d" % refused.retry_after))
    if refused.status == 401:
        response.headers.append((b"www-authenticate", b"Bearer"))
    if refused.status in (408, 413):
        # What is still to come of the body is not read.
        response.headers.append((b"connection", b"close"))
    return response


async def _send(send: Send, response: Response, request_id: str) -> None:
    headers = [
        (b"content-type", response.type),
        (b"content-length", b"%d" % len(response.body)),
        (b"x-request-id", request_id.encode("ascii")),
        *_SECURITY,
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
