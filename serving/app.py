"""The HTTP application: it routes, authorizes, answers, counts and logs requests.

``rsgi`` connects it to the HTTP server. There are about twenty routes and no middleware, because for one headline most
web frameworks take longer than the model does.
"""

import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

from textgate.serving.access import authorize, check_site
from textgate.serving.errors import RequestError
from textgate.serving.keys import Keys
from textgate.serving.log import log_event, request_id
from textgate.serving.metrics import Metrics
from textgate.serving.request_body import body_too_large
from textgate.serving.request_recorder import RequestRecorder
from textgate.serving.routing import JSON, Request, Response, Route, json_response

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

_BINARY = "application/octet-stream"


class Application:
    """HTTP application that serves a table of routes."""

    def __init__(
        self,
        routes: Iterable[Route],
        keys: Keys | None,
        allowed_hosts: Collection[str],
        max_body_bytes: int,
        metrics: Metrics,
        tracing: "Tracing | None",
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self._keys, self._allowed_hosts = keys, allowed_hosts
        self._tracing = tracing
        self._recorder = RequestRecorder(metrics)
        self._static: dict[str, dict[str, Route]] = {}
        """Routes by path and method, for paths without parameters."""
        self._parameterized: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            paths = by_path if "{" in route.path else self._static
            paths.setdefault(route.path, {})[route.method] = route
        for path, methods in by_path.items():
            # A parameter ends at a slash, or at the colon of a verb such as :classify.
            pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", path))
            self._parameterized.append((pattern, methods))

    def start_request(self, method: str, path: str, host: str, headers: Mapping[str, str]) -> Request:
        """Route and authorize a request whose headers have arrived; set its ``error`` if it must be rejected."""
        request = Request(method, path, headers, request_id(headers))
        try:
            route = request.route = self._find_route(request)
            if self._keys is None and route.role is not None:
                check_site(host, headers, self._allowed_hosts)
            request.key_name = authorize(self._keys, route.role, headers)
            length = headers.get("content-length", "0")
            if not length.isdigit():
                raise RequestError(400, "Content-Length is not one number")
            if int(length) > self.max_body_bytes:
                raise body_too_large(self.max_body_bytes)
            if route.request_model is not None:
                _check_content_type(route, headers)
            if route.check_capacity:
                route.check_capacity()
        except RequestError as error:
            # With its traceback it would keep the connection open until the next garbage collection.
            request.error = error.with_traceback(None)
        return request

    async def respond(self, request: Request) -> Response:
        """Call the handler of a complete, accepted request; turn its errors into responses."""
        route = request.route
        assert route is not None  # noqa: S101 (start_request rejects a request without a route)
        try:
            with self._tracing.span(route.path, request.headers) if self._tracing else nullcontext():
                response = await route.handler(request)
        except RequestError as error:
            return self.error_response(error)
        except Exception as error:  # one request must not take the server with it
            log_event("a request failed", logging.ERROR, error, request_id=request.id, path=request.path)
            return self.error_response(RequestError(500, "the server failed on this request; its log says how"))
        if response.status == 200:
            response.status = route.success_status
        return response

    def error_response(self, error: RequestError) -> Response:
        """Return the response to a request that ended with ``error``."""
        response = json_response({"error": error.message}, error.status)
        response.headers += error.headers
        if error.retry_after is not None:
            response.headers.append(("retry-after", str(error.retry_after)))
        return response

    def record(self, request: Request, status: int) -> None:
        """Count and log a finished request; see ``RequestRecorder``."""
        route, seconds = request.route, time.perf_counter() - request.received
        path, is_probe = (route.path, route.is_probe) if route else ("none", False)
        self._recorder.record(request, request.method, path, status, seconds, is_probe)

    def _find_route(self, request: Request) -> Route:
        """Return the route of a request and set its path parameters."""
        methods = self._static.get(request.path)
        if methods is None:
            if request.method == "OPTIONS" and request.path == "*":  # the whole server (RFC 9110, 9.3.7)
                return _options_route("*", "GET, HEAD, OPTIONS, POST")
            for pattern, candidates in self._parameterized:
                if match := pattern.fullmatch(request.path):
                    methods, request.path_parameters = candidates, match.groupdict()
                    break
            else:
                raise RequestError(404, f"there is no route {request.path[:200]}; /openapi.json lists the routes")
        # The response to HEAD has no body, but is otherwise that to GET (RFC 9110, 9.3.2).
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
            if request.method == "OPTIONS":
                return _options_route(next(iter(methods.values())).path, allowed)
            raise RequestError(
                405,
                f"{request.path[:200]} takes {allowed}, not {request.method[:20]}",
                headers=[("allow", allowed)],
            )
        return route


def _options_route(path: str, allowed: str) -> Route:
    """Return a route that lists the methods of a path; without CORS headers, browsers keep other sites out."""

    async def handler(request: Request) -> Response:
        return Response(b"", headers=[("allow", allowed)])

    return Route("OPTIONS", path, handler, success_status=204, role=None)


def _check_content_type(route: Route, headers: Mapping[str, str]) -> None:
    """Check that the body is announced as JSON, or not announced, as some Open Inference clients leave it.

    Raises:
        RequestError: 415 for another type. Text and forms are what a page of another site can send without asking.
    """
    media_type = headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type == JSON or media_type.endswith("+json") or (media_type == _BINARY and route.accepts_binary):
        return
    raise RequestError(
        415, f"the body must be JSON, not {media_type[:100]!r}: send Content-Type: {JSON}", headers=[("accept", JSON)]
    )
