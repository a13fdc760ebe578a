"""Spans to an OTLP endpoint, over HTTP. Needs the extra `otel`, and is loaded only for that.

Everything else is OpenTelemetry's own environment: OTEL_EXPORTER_OTLP_HEADERS,
OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME, TRACEPARENT and so on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deploy.notify.posting import NotDelivered
from deploy.notify.settings import shown
from deploy.notify.spans import Span

_TIMEOUT_S = 5.0
_AT_ONCE = 512
_PATH = "/v1/traces"


def send_spans(spans: Sequence[Span], endpoint: str, environ: Mapping[str, str]) -> None:
    """Export them all; an empty endpoint is that of the environment. Raises NotDelivered."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we say it ourselves
    url = f"{endpoint.rstrip('/').removesuffix(_PATH)}{_PATH}" if endpoint else None
    ready = _readable(spans, environ)
    exporter = OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT_S)
    try:
        for first in range(0, len(ready), _AT_ONCE):
            if exporter.export(ready[first : first + _AT_ONCE]) is not SpanExportResult.SUCCESS:
                where = shown(url) if url else "the endpoint of OTEL_EXPORTER_OTLP_ENDPOINT"
                raise NotDelivered(f"traces: {where} did not take them")
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]  # as the package has it


def _readable(spans: Sequence[Span], environ: Mapping[str, str]) -> Sequence[ReadableSpan]:
    """As OpenTelemetry has them; under the trace of who started us, where TRACEPARENT says."""
    memory = InMemorySpanExporter()
    named = {SERVICE_NAME: environ.get("OTEL_SERVICE_NAME") or "tidegate"}
    provider = TracerProvider(
        resource=Resource.create(named | {SERVICE_VERSION: version("tidegate")}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tidegate", version("tidegate"))
    outside = TraceContextTextMapPropagator().extract(
        {"traceparent": environ.get("TRACEPARENT", "")}
    )
    begun: list[trace.Span] = []
    for span in spans:
        context = outside if span.parent is None else set_span_in_context(begun[span.parent])
        one = tracer.start_span(
            span.name,
            context=context,
            kind=SpanKind.CLIENT if span.is_call else SpanKind.INTERNAL,
            attributes=dict(span.attributes),
            start_time=_ns(span.begin_s),
        )
        for at, name in span.events:
            one.add_event(name, timestamp=_ns(at))
        if span.problem:
            one.set_status(Status(StatusCode.ERROR, span.problem))
        begun.append(one)
    for one, span in zip(begun, spans, strict=True):
        one.end(end_time=_ns(span.end_s))
    return memory.get_finished_spans()


def _ns(at_s: float) -> int:
    return int(at_s * 1e9)
