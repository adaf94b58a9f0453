"""Types that the HTTP routes share: a request, a response, and the declaration of a route."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from textgate.serving.errors import RequestError
from textgate.serving.keys import Role

JSON = "application/json"
JsonSchema = dict[str, Any]


@dataclass(slots=True)
class Request:
    """HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Header names in lower case, and their values."""
    id: str
    body: bytes = b""
    route: "Route | None" = None
    path_parameters: dict[str, str] = field(default_factory=dict)
    error: RequestError | None = None
    """Reason for rejecting the request, known before its body is read."""
    answered_by: tuple[str, str] = ("", "")
    """Model and version that answered, for the log and the metrics."""
    text_count: int | None = None
    key_name: str | None = None
    """Name of the API key that the request came with."""
    received: float = field(default_factory=time.perf_counter)
    """Time at which the last byte arrived, on the clock of ``time.perf_counter``."""


@dataclass(slots=True)
class Response:
    """HTTP response."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """Declaration of a route, from which routing, authorization and the OpenAPI document are derived."""

    method: str
    path: str
    """Path, with parameters in braces: ``/v2/models/{model}/infer``."""
    handler: Handler
    summary: str | None = None
    """One line for the OpenAPI document; None leaves the route out of it."""
    request_model: type[BaseModel] | None = None
    """Model of the JSON body; None if the route reads no body."""
    response_schema: JsonSchema | None = None
    """JSON schema of a successful response."""
    success_status: int = 200
    """Status of a successful response."""
    binary_response: bool = False
    """True if a client can request part of the response in binary form."""
    role: Role | None = "user"
    """Role that the API key must have; None for a public route."""
    check_capacity: Callable[[], None] | None = None
    """Function that raises ``RequestError`` if the server is overloaded; called before the body is read."""
    accepts_binary: bool = False
    """True if the body may be ``application/octet-stream``: JSON followed by binary tensors."""
    is_probe: bool = False
    """True for health probes, which are logged at debug level only."""


def json_response(value: Any, status: int = 200) -> Response:
    """Return ``value`` as a JSON response."""
    return Response(to_json(value), status)


_Model = TypeVar("_Model", bound=BaseModel)


def parse_json(model: type[_Model], body: bytes) -> _Model:
    """Parse and validate a JSON body.

    Raises:
        RequestError: 400 if the body is not JSON; 422 if it does not match ``model``.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise RequestError(400, f"the body is not JSON: {first['msg']}") from error
        where = ".".join(map(str, first["loc"])) or "the body"
        raise RequestError(422, f"{where}: {first['msg']}") from error
