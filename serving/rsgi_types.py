"""Types of RSGI, the interface of the HTTP server granian, as far as they are used (its docs/spec/RSGI.md)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol


class Headers(Protocol):
    """Headers of a request, names in lower case."""

    def items(self) -> list[tuple[str, str]]:
        """Return all names and values."""
        ...

    def get_all(self, name: str) -> list[str]:
        """Return the values of one header."""
        ...


class Scope(Protocol):
    """Head of an HTTP request."""

    http_version: str
    client: str
    """Address and port."""
    method: str
    path: str
    """Path, percent-decoded."""
    authority: str | None
    """Host of a request over HTTP/2, or of one with an absolute target."""
    headers: Headers


class Disconnect(Protocol):
    """Future that is done when the client has disconnected."""

    def add_done_callback(self, callback: Callable[["Disconnect"], object]) -> None:
        """See ``asyncio.Future``."""
        ...

    def cancel(self) -> bool:
        """See ``asyncio.Future``."""
        ...

    def cancelled(self) -> bool:
        """See ``asyncio.Future``."""
        ...


class HttpProtocol(Protocol):
    """Body and response of an HTTP request."""

    def __call__(self) -> Awaitable[bytes]:
        """Return the body; raise RuntimeError if it is cut off."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Start to read the body in chunks; raise RuntimeError if it is being read."""
        ...

    def __anext__(self) -> Awaitable[bytes]:
        """Return the next chunk of the body; an empty one at its end."""
        ...

    def client_disconnect(self) -> Disconnect:
        """Return a future that is done when the client has disconnected."""
        ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Write the response."""
        ...
