"""Prometheus metrics, with names and units as in prometheus.io/docs, "Metric and label naming"."""

from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECOND_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_TEXT_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_DIFFERENCE_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1)
_VERSION_LABELS = ("model", "version")
_Metric = TypeVar("_Metric", Counter, Histogram)


class Metrics:
    """Metrics of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._children: dict[tuple[Counter | Histogram, tuple[str, ...]], Counter | Histogram] = {}
        self.requests = Counter(
            "textgate_requests", "Requests, successful or not", [*_VERSION_LABELS, "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "textgate_request_seconds",
            "Time from the last byte of a request to its response",
            [*_VERSION_LABELS, "route"],
            buckets=_SECOND_BUCKETS,
            registry=registry,
        )
        self.texts = Counter("textgate_texts", "Texts classified", _VERSION_LABELS, registry=registry)
        self.tokens = Counter(
            "textgate_tokens", "Tokens processed, without padding", _VERSION_LABELS, registry=registry
        )
        self.failed_texts = Counter(
            "textgate_failed_texts", "Texts on which the model failed", _VERSION_LABELS, registry=registry
        )
        self.worker_restarts = Counter(
            "textgate_worker_restarts", "Prediction threads that died and were replaced", registry=registry
        )
        self.truncated = Counter(
            "textgate_truncated_texts", "Texts longer than the model's maximum", _VERSION_LABELS, registry=registry
        )
        self.batch_texts = Histogram(
            "textgate_batch_texts", "Texts in one batch", _VERSION_LABELS, buckets=_TEXT_BUCKETS, registry=registry
        )
        self.wait_seconds = Histogram(
            "textgate_queue_wait_seconds",
            "Time in the queue",
            _VERSION_LABELS,
            buckets=_SECOND_BUCKETS,
            registry=registry,
        )
        self.queue_texts = Gauge("textgate_queue_texts", "Texts in the queue", registry=registry)
        self.queue_seconds = Gauge(
            "textgate_queue_seconds", "Estimated processing time of the queue", registry=registry
        )
        self.serving = Gauge(
            "textgate_model_version_info",
            "1 for each version that is served",
            [*_VERSION_LABELS, "channel"],
            registry=registry,
        )
        self.refused = Gauge(
            "textgate_model_refused",
            "1 for each version that cannot be served; the log and /v1/models say why",
            ["model", "channel", "version"],
            registry=registry,
        )
        self.swaps = Counter(
            "textgate_swaps",
            "Version updates that were applied (taken) or refused",
            ["model", "channel", "outcome"],
            registry=registry,
        )
        self.shadow_texts = Counter(
            "textgate_shadow_texts",
            "Texts that the shadow classified too, by whether its label was the same",
            [*_VERSION_LABELS, "same"],
            registry=registry,
        )
        self.shadow_difference = Histogram(
            "textgate_shadow_difference",
            "Largest difference between a probability of the shadow and of the version that answered",
            _VERSION_LABELS,
            buckets=_DIFFERENCE_BUCKETS,
            registry=registry,
        )
        self.feedback = Counter("textgate_feedback", "Correct labels received", ["model"], registry=registry)

    def child(self, metric: _Metric, *labels: str) -> _Metric:
        """Return ``metric.labels(*labels)`` from a cache, because prometheus_client takes long to look it up."""
        key = (metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return cast(_Metric, child)

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
