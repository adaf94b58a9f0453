"""The error that a request ends with."""


class RequestError(Exception):
    """Error for the client: one sentence and an HTTP status, which gRPC maps to its own status codes."""

    def __init__(self, status: int, message: str, retry_after: int | None = None, allow: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.retry_after = retry_after
        """Seconds after which the client should try again (``Retry-After``)."""
        self.allow = allow
        """Methods that the path supports (``Allow``), for a 405."""
