"""The HTTP application: asks for a request's key, finds its route, answers, counts and logs.

What HTTP is on the wire is in ``protocol``. There are twenty routes and no middleware, and a request for one headline
takes less time in the model than in most frameworks.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from textgate.serving.access import authorize
from textgate.serving.errors import RequestError
from textgate.serving.keys import Keys, Role
from textgate.serving.log import RequestLog, log_event, request_id
from textgate.serving.metrics import Metrics

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

JSON = b"application/json"
_GONE = 499
"""nginx's status for a client that did not wait for its answer."""


@dataclass(slots=True)
class Request:
    """One request; ``names`` are the parts of its path that a route leaves open."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    id: str
    body: bytes = b""
    route: "Route | None" = None
    names: dict[str, str] = field(default_factory=dict)
    refused: RequestError | None = None
    """Why it will not be answered, known before its body is."""
    answered_by: tuple[str, str] = ("", "")
    """Model and version, for the log and the metrics."""
    texts: int | None = None
    holder: str | None = None
    """Whose key came with it."""
    started: float = field(default_factory=time.perf_counter)
    """When the last byte came that it waits for, on the clock of ``time.perf_counter``."""


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
    admit: Callable[[], None] | None = None
    """Raises Refused when there is too much to do, before the body is read."""


class Http:
    """The application over some routes."""

    def __init__(
        self, routes: Iterable[Route], keys: Keys | None, largest_body: int, metrics: Metrics, tracing: "Tracing | None"
    ) -> None:
        self.largest_body = largest_body
        self._keys, self._metrics, self._tracing = keys, metrics, tracing
        self._log = RequestLog()
        self._fixed: dict[str, dict[str, Route]] = {}
        self._open: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            kind = patterns if "{" in route.path else self._fixed
            kind.setdefault(route.path, {})[route.method] = route
        for path, methods in patterns.items():
            # A name ends at a slash, or at the colon of a verb such as :classify.
            self._open.append((re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", path)), methods))

    def begin(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Request:
        """A request whose headers have come: routed, let in or refused."""
        request = Request(method, path, headers, request_id(headers))
        try:
            route = request.route = self._route(request)
            request.holder = authorize(self._keys, route.role, headers)
            length = headers.get(b"content-length", b"0")
            if length.isdigit() and int(length) > self.largest_body:
                raise self.too_large()
            if route.admit:
                route.admit()
        except RequestError as refused:
            request.refused = refused
        return request

    def too_large(self) -> RequestError:
        """What a body over the limit is answered with."""
        return RequestError(413, f"the body is larger than the {self.largest_body} bytes that it may have")

    async def answer(self, request: Request) -> Response:
        """Answer a request that was let in and has come whole."""
        route = request.route
        assert route is not None  # noqa: S101 (begin refuses what has none)
        try:
            with self._tracing.span(route.path, request.headers) if self._tracing else nullcontext():
                return await route.handler(request)
        except RequestError as refused:
            return self.refuse(refused)
        except asyncio.CancelledError:
            self.note(request, _GONE)
            raise
        except Exception as error:  # one request must not take the server with it
            log_event("a request failed", logging.ERROR, error, request_id=request.id, path=request.path)
            return self.refuse(RequestError(500, "the server failed on this request; its log says how"))

    def refuse(self, refused: RequestError) -> Response:
        """The answer to a request that is refused."""
        response = answer_json({"error": refused.message}, refused.status)
        if refused.allow:
            response.headers.append((b"allow", refused.allow.encode("ascii")))
        if refused.retry_after is not None:
            response.headers.append((b"retry-after", b"%d" % refused.retry_after))
        if refused.status == 401:
            response.headers.append((b"www-authenticate", b"Bearer"))
        return response

    def note(self, request: Request, status: int) -> None:
        """Count and log a request that was answered, or left."""
        seconds = time.perf_counter() - request.started
        path = request.route.path if request.route else "none"
        model, version = request.answered_by
        metrics = self._metrics
        metrics.child(metrics.requests, model, version, path, str(status)).inc()
        if status < 400:
            metrics.child(metrics.request_seconds, model, version, path).observe(seconds)
        self._log.write(
            {
                "request_id": request.id,
                "method": request.method,
                "route": path,
                "status": status,
                "ms": round(seconds * 1e3, 2),
                "model": model or None,
                "version": version or None,
                "texts": request.texts,
                "key": request.holder,
            }
        )

    def _route(self, request: Request) -> Route:
        methods = self._fixed.get(request.path)
        if methods is None:
            for pattern, found in self._open:
                if match := pattern.fullmatch(request.path):
                    methods, request.names = found, match.groupdict()
                    break
            else:
                raise RequestError(404, f"there is nothing at {request.path[:200]}; /openapi.json lists what there is")
        route = methods.get(request.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise RequestError(405, f"{request.path[:200]} takes {allowed}, not {request.method}", allow=allowed)
        return route


def answer_json(value: Any, status: int = 200) -> Response:
    """``value`` as JSON."""
    return Response(to_json(value), status)
