"""What the server keeps of each finished request, over HTTP and gRPC: metrics, and a line in the log."""

from typing import Protocol

from textgate.serving.log import RequestLog
from textgate.serving.metrics import Metrics


class RecordedRequest(Protocol):
    """HTTP request or gRPC call, as far as it is recorded."""

    id: str
    key_name: str | None
    answered_by: tuple[str, str]
    text_count: int | None


class RequestRecorder:
    """Metrics and log of finished requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._log = metrics, RequestLog()

    def record(
        self, request: RecordedRequest, method: str, route: str, status: int, seconds: float, is_probe: bool
    ) -> None:
        """Count and log a finished request; a health probe that succeeds is not logged."""
        metrics, (model, version) = self._metrics, request.answered_by
        metrics.child(metrics.requests, model, version, route, str(status)).inc()
        if status < 400:
            metrics.child(metrics.request_seconds, model, version, route).observe(seconds)
            if is_probe:
                return
        self._log.write(
            {
                "request_id": request.id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1e3, 2),
                "model": model or None,
                "version": version or None,
                "texts": request.text_count,
                "key": request.key_name,
            }
        )
