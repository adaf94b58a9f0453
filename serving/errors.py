"""What a request that is not answered ends on."""


class RequestError(Exception):
    """One sentence for whoever sent the request, with the HTTP status that goes with it; gRPC has its own for each."""

    def __init__(self, status: int, message: str, retry_after: int | None = None, allow: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.retry_after = retry_after
        """Seconds until it is worth asking again."""
        self.allow = allow
        """The methods there are, when the one asked for is none of them."""
