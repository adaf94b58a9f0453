"""OpenTelemetry spans, sent if the environment names a collector (opentelemetry.io, "OTLP Exporter Configuration")."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class Tracing:
    """Tracer with a span for each request, in the trace that its ``traceparent`` header names."""

    def __init__(self) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "textgate"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("textgate.serving")

    @contextmanager
    def span(self, name: str, headers: Mapping[str, str]) -> Iterator[trace.Span]:
        """Record a span around the code inside; it contains no text of the request."""
        context = propagate.extract(headers)
        with self._tracer.start_as_current_span(name, context=context, kind=trace.SpanKind.SERVER) as span:
            yield span

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()
