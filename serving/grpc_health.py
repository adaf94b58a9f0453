"""The services ``grpc.health.v1.Health`` and ``grpc.reflection.v1.ServerReflection``.

Health is described in github.com/grpc/grpc, doc/health-checking.md; Kubernetes probes and load-balancing clients use
it. Names of services are ``""`` for the server, ``inference.GRPCInferenceService``, and each model. It is public, as
the health routes of HTTP are. The servicer of grpcio-health-checking is not used, because it forgets all watchers of a
service when one of them leaves.

Reflection (doc/server-reflection.md) tells clients such as grpcurl the methods and messages. With API keys it needs one
of role ``user``. Version v1alpha, which older clients call, differs from v1 in its name only.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from textgate.serving.endpoint import Endpoint
from textgate.serving.errors import RequestError
from textgate.serving.grpc_calls import Call, CallHandlers, Context, Method, abort, parse, write

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION_NAMES = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
MAX_STREAMS = 256
"""Streams of ``Watch`` and of reflection, together, at the same time."""
POLL_SECONDS = 1.0
"""Time between two looks at the status for ``Watch``."""

_Response: TypeAlias = health_pb2.HealthCheckResponse


@dataclass
class StreamLimit:
    """Number of open streams."""

    count: int = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a stream while it is open.

        Raises:
            RequestError: 429 if there are ``MAX_STREAMS`` already.
        """
        if self.count >= MAX_STREAMS:
            raise RequestError(429, f"the server has {MAX_STREAMS} streams open already")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


@dataclass
class Health:
    """Implementation of ``grpc.health.v1.Health``."""

    endpoint: Endpoint
    service_name: str
    """Name of the service whose health is that of the server."""
    calls: CallHandlers
    streams: StreamLimit
    _draining: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handlers of the service by the names of its methods."""
        return {
            **self.calls.of_service(HEALTH, {"Check": Method(self._check, is_probe=True)}),
            "Watch": grpc.stream_stream_rpc_method_handler(
                self._watch, response_serializer=_Response.SerializeToString
            ),
        }

    def start_draining(self) -> None:
        """Report NOT_SERVING from now on, to watchers at once."""
        self._draining.set()

    def end_watches(self) -> None:
        """End the streams of watchers."""
        self._draining.set()
        self._stopping.set()

    def _status(self, service: str) -> str:
        """Return the status of a service by its name in the protocol."""
        if service not in ("", self.service_name, *self.endpoint.repository.models):
            return "SERVICE_UNKNOWN"
        return "SERVING" if self.endpoint.ready and not self._draining.is_set() else "NOT_SERVING"

    async def _check(self, request: health_pb2.HealthCheckRequest, call: Call) -> _Response:
        status = self._status(request.service)
        if status == "SERVICE_UNKNOWN":
            raise RequestError(404, f"there is no service and no served model {request.service[:100]!r}")
        return _Response(status=status)

    async def _watch(self, _: AsyncIterator[bytes], context: Context) -> None:
        try:
            with self.streams.one_more():
                request = parse(await self.calls.read(context), health_pb2.HealthCheckRequest)
                last = None
                while True:
                    stopping, status = self._stopping.is_set(), self._status(request.service)
                    if status != last:
                        await write(context, _Response(status=status))
                    if stopping:
                        return
                    last = status
                    event = self._stopping if self._draining.is_set() else self._draining
                    with suppress(TimeoutError):
                        await asyncio.wait_for(event.wait(), POLL_SECONDS)
        except RequestError as error:
            await abort(context, error)


class Reflection(reflection_aio.ReflectionServicer):  # type: ignore[misc]  # the library has no types
    """Implementation of server reflection for those who have a key."""

    def __init__(self, service_names: Sequence[str], calls: CallHandlers, streams: StreamLimit) -> None:
        super().__init__([*service_names, reflection.SERVICE_NAME])
        self._calls, self._streams = calls, streams

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handler of the service by the name of its method."""
        return {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                self._reflect, response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString
            )
        }

    async def _reflect(self, _: AsyncIterator[bytes], context: Context) -> None:
        try:
            self._calls.check_key("user", context)
            with self._streams.one_more():
                async for response in self.ServerReflectionInfo(self._requests(context), context):
                    await write(context, response)
        except RequestError as error:
            await abort(context, error)

    async def _requests(self, context: Context) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        while (body := await self._calls.read(context)) is not None:
            yield parse(body, reflection_pb2.ServerReflectionRequest)
