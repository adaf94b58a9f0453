"""gRPC calls: authorized before their message is read, then limited, counted, logged and traced as HTTP requests are.

``CallHandlers`` turns a table of methods into the handlers of a gRPC service.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from textgate.serving.access import authorize
from textgate.serving.errors import RequestError
from textgate.serving.keys import Keys, Role
from textgate.serving.log import log_event, request_id
from textgate.serving.metrics import Metrics
from textgate.serving.request_recorder import RequestRecorder

if TYPE_CHECKING:
    from textgate.serving.tracing import Tracing

Context: TypeAlias = grpc.aio.ServicerContext
_Message = TypeVar("_Message", bound=Message)

READ_SECONDS = 5.0
"""Longest time between the headers of a call and the end of its message."""
WRITE_SECONDS = 10.0
"""Longest time for a client to receive a message of a stream: HTTP/2's flow control lets it refuse to."""
MAX_READS = 64
"""Calls whose messages are read at the same time, which bounds the memory of messages that are sent slowly."""
MAX_CALLS = 1_024
"""Calls of non-public methods at the same time."""
SMALL_MESSAGE_BYTES = 64 * 1024
"""Largest message of a method that needs no more."""
_MAX_STATUS_LENGTH = 500
"""Length of a status message in characters: it is sent in the headers, of which clients accept 8 KiB."""
_CLIENT_CLOSED_REQUEST = 499
"""Status, in log and metrics, of a call that its client cancelled."""
# From the HTTP statuses in the documentation of google.rpc.Code, which has none for 413 and 422.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    431: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(slots=True)
class Call:
    """Context of a call."""

    id: str
    context: Context
    key_name: str | None = None
    """Name of the API key that the call came with."""
    answered_by: tuple[str, str] = ("", "")
    """Model and version that answered, for the log and the metrics."""
    text_count: int | None = None

    @property
    def deadline_seconds(self) -> float | None:
        """Seconds until the client gives up; None if it has no deadline."""
        return cast(float | None, self.context.time_remaining())


@dataclass(frozen=True)
class Method:
    """Method of a service that answers one message with one message."""

    answer: Callable[[Any, Call], Awaitable[Message]]
    role: Role | None = None
    """Role that a key needs; None for a public method."""
    max_bytes: int | None = SMALL_MESSAGE_BYTES
    """Largest message; None leaves it to the server's limit."""
    is_probe: bool = False
    """True to leave calls that succeed out of the log."""
    check_capacity: Callable[[], None] | None = None
    """Raises RequestError, before the message is read, if the call could not be answered in time."""
    check_message: Callable[[bytes], None] | None = None
    """Raises RequestError for a message whose parsing would take too much memory or time."""


@dataclass
class CallHandlers:
    """Handlers of the calls of one server."""

    metrics: Metrics
    keys: Keys | None
    """Accepted API keys; None allows everything that the role ``user`` may do."""
    tracing: "Tracing | None" = None
    _reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_READS))
    _running: int = 0
    """Calls of non-public methods."""
    _sending: asyncio.Event = field(default_factory=asyncio.Event)
    """Unset while answers are held back."""

    def __post_init__(self) -> None:
        self._recorder = RequestRecorder(self.metrics)
        self._sending.set()

    @asynccontextmanager
    async def hold_answers(self) -> AsyncIterator[None]:
        """Hold back the answers of calls while the body runs."""
        self._sending.clear()
        try:
            yield
        finally:
            self._sending.set()

    def of_service(self, service: ServiceDescriptor, methods: dict[str, Method]) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handlers of a service by the names of its methods."""
        return {
            name: grpc.stream_unary_rpc_method_handler(
                self._handler(name, GetMessageClass(service.methods_by_name[name].input_type), method),
                response_serializer=GetMessageClass(service.methods_by_name[name].output_type).SerializeToString,
            )
            for name, method in methods.items()
        }

    def check_key(self, role: Role | None, context: Context) -> str | None:
        """Check the key of a call; see ``authorize``."""
        return authorize(self.keys, role, _headers(context))

    async def read(self, context: Context) -> bytes | None:
        """Read the next message of a call; return None if there is none.

        Raises:
            RequestError: 504 if it takes longer than ``READ_SECONDS``.
        """
        try:
            async with asyncio.timeout(READ_SECONDS), self._reading:
                body = await context.read()
        except TimeoutError:
            raise RequestError(504, f"the message did not arrive within {READ_SECONDS:g} s") from None
        return body if isinstance(body, bytes) else None

    def _handler(self, name: str, message_type: type[Message], method: Method) -> Callable[..., Awaitable[Message]]:
        """Return a handler for one method.

        It takes a stream of messages, of which it reads one: the same on the wire, but the key is checked first. What
        is not read is held back by HTTP/2's flow control.
        """
        route = f"grpc {name}"

        async def handler(_: AsyncIterator[bytes], context: Context) -> Message | None:
            started = time.perf_counter()
            headers = _headers(context)
            call = Call(request_id(headers), context)
            error: RequestError | None = None
            response: Message | None = None
            counted = method.role is not None
            self._running += counted
            try:
                call.key_name = authorize(self.keys, method.role, headers)
                if counted and self._running > MAX_CALLS:
                    raise RequestError(429, f"the server answers {MAX_CALLS} calls already", retry_after=1)
                if method.check_capacity:
                    method.check_capacity()
                body = await self.read(context)
                message = parse(body, message_type, method.max_bytes, method.check_message)
                with self.tracing.span(route, headers) if self.tracing else nullcontext():
                    response = await method.answer(message, call)
            except RequestError as request_error:
                error = request_error
            except asyncio.CancelledError:
                self._record(route, call, _CLIENT_CLOSED_REQUEST, started, method)
                raise
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as failure:  # PyO3's PanicException is no Exception
                log_event("a request failed", logging.ERROR, failure, request_id=call.id, path=route)
                error = RequestError(500, "the server failed on this request; its log says how")
            finally:
                self._running -= counted
            trailing = [("x-request-id", call.id)]
            if error and error.retry_after is not None:
                trailing.append(("retry-after", str(error.retry_after)))
            context.set_trailing_metadata(trailing)
            self._record(route, call, error.status if error else 200, started, method)
            await self._sending.wait()
            if error:
                await abort(context, error)
            return response

        return handler

    def _record(self, route: str, call: Call, status: int, started: float, method: Method) -> None:
        """Count and log a finished call; see ``RequestRecorder``."""
        self._recorder.record(call, "gRPC", route, status, time.perf_counter() - started, method.is_probe)


async def write(context: Context, message: Message) -> None:
    """Write a message of a stream.

    Raises:
        CancelledError: If the client does not receive it within ``WRITE_SECONDS``.
    """
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise asyncio.CancelledError from None


async def abort(context: Context, error: RequestError) -> None:
    """End a call with an error."""
    code = _CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)
    await context.abort(code, error.message[:_MAX_STATUS_LENGTH])


def _headers(context: Context) -> dict[str, str]:
    # Names are in lower case; binary values are not of interest here.
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def parse(
    body: bytes | None,
    message_type: type[_Message],
    max_bytes: int | None = SMALL_MESSAGE_BYTES,
    check: Callable[[bytes], None] | None = None,
) -> _Message:
    """Parse the message of a call.

    Args:
        body: The encoded message; None if the client sent none.
        message_type: Type of the message.
        max_bytes: Largest message; None leaves it to the server's limit.
        check: Raises RequestError for a message that must not be parsed.

    Raises:
        RequestError: 400 if it is no such message; 413 if it is too large.
    """
    if body is None:
        raise RequestError(400, "the call has no message")
    if max_bytes is not None and len(body) > max_bytes:
        raise RequestError(413, f"the message has {len(body)} bytes, more than the {max_bytes} that this method takes")
    try:
        if check:
            check(body)
        return cast(_Message, message_type.FromString(body))
    except DecodeError:
        raise RequestError(400, f"the message is not a {message_type.DESCRIPTOR.full_name}") from None
