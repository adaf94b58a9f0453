"""What Prometheus reads: names and units as in prometheus.io/docs, "Metric and label naming"."""

from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)
_DIFFERENCES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1)
_VERSION = ("model", "version")
_Metric = TypeVar("_Metric", Counter, Histogram)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._children: dict[tuple[Counter | Histogram, tuple[str, ...]], Counter | Histogram] = {}
        self.requests = Counter(
            "textgate_requests", "Requests answered or refused", [*_VERSION, "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "textgate_request_seconds",
            "From the request's last byte to its answer",
            [*_VERSION, "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.texts = Counter("textgate_texts", "Texts answered", _VERSION, registry=registry)
        self.tokens = Counter("textgate_tokens", "Tokens read, without padding", _VERSION, registry=registry)
        self.truncated = Counter(
            "textgate_truncated_texts", "Texts longer than the model reads", _VERSION, registry=registry
        )
        self.batch_texts = Histogram(
            "textgate_batch_texts", "Texts in one run of the model", _VERSION, buckets=_TEXTS, registry=registry
        )
        self.wait_seconds = Histogram(
            "textgate_queue_wait_seconds", "Time in the queue", _VERSION, buckets=_SECONDS, registry=registry
        )
        self.queue_texts = Gauge("textgate_queue_texts", "Texts waiting", registry=registry)
        self.queue_seconds = Gauge(
            "textgate_queue_seconds", "Time that what waits is expected to take", registry=registry
        )
        self.serving = Gauge(
            "textgate_model_version_info", "1 for each version that answers", [*_VERSION, "channel"], registry=registry
        )
        self.swaps = Counter(
            "textgate_swaps", "Versions taken in or refused", ["model", "channel", "outcome"], registry=registry
        )
        self.shadow_texts = Counter(
            "textgate_shadow_texts",
            "Texts the shadow answered too, by whether its class was the same",
            [*_VERSION, "same"],
            registry=registry,
        )
        self.shadow_difference = Histogram(
            "textgate_shadow_difference",
            "Largest difference of a probability between the shadow and what answered",
            _VERSION,
            buckets=_DIFFERENCES,
            registry=registry,
        )
        self.feedback = Counter("textgate_feedback", "Right labels received", ["model"], registry=registry)

    def child(self, metric: _Metric, *labels: str) -> _Metric:
        """``metric.labels(*labels)``, which takes its time, found again by the same labels."""
        key = (metric, labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return cast(_Metric, found)

    def page(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
