"""Types that the HTTP routes share: a request, a response, and the declaration of a route."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from pydantic_core import to_json

from textgate.serving.errors import RequestError
from textgate.serving.keys import Role
from textgate.serving.schemas import JsonSchema

JSON = "application/json"


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
    request_model: type[Struct] | None = None
    """Type of the JSON body; None if the route reads no body."""
    response_schema: JsonSchema | None = None
    """JSON schema of a successful response."""
    success_status: int = 200
    """Status of a successful response."""
    media_type: str = JSON
    """Media type of a successful response."""
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


_Body = TypeVar("_Body", bound=Struct)
_OTHER_STRINGS = 1_000
"""Number of strings that a body may have besides its texts: keys, names and parameters."""


def parse_json(body_type: type[_Body], body: bytes, max_texts: int = 1) -> _Body:
    """Parse and validate a JSON body.

    The memory that this takes is at most about five times the size of the body.

    Args:
        body_type: Type of the body.
        body: JSON in UTF-8.
        max_texts: Number of texts that the request may have. It bounds the number of strings before anything is parsed,
            because a list of millions of tiny strings takes much longer than its bytes suggest.

    Raises:
        RequestError: 400 if the body is not JSON; 422 if it has too many strings or does not match ``body_type``.
    """
    # Each string has two quotes that no backslash precedes, but for one whose last character is a backslash, which has
    # one. So a body with n strings has n to 2n of them.
    if body.count(b'"') - body.count(b'\\"') > 2 * (max_texts + _OTHER_STRINGS):
        raise RequestError(422, f"the body has more strings than a request of at most {max_texts} texts needs")
    try:
        body_decoder: msgspec.json.Decoder[_Body] = _decoder(body_type)
        return body_decoder.decode(body)
    except msgspec.ValidationError as error:
        what, _, path = str(error).rpartition(" - at `$")
        where = path.removeprefix(".").removesuffix("`") if what else ""
        raise RequestError(422, f"{where or 'the body'}: {what or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error


@cache
def _decoder(body_type: type[_Body]) -> "msgspec.json.Decoder[_Body]":
    return msgspec.json.Decoder(body_type)
