"""Traced mode: the OpenTelemetry SDK as an application would set it up, and a ledger of what the
collector acknowledged. In untraced mode nothing of OpenTelemetry is imported."""

import os

from .contract import TRACED
from .truth import TruthLog


def traced() -> bool:
    return bool(os.environ.get(TRACED))


def set_up(app, truth: TruthLog) -> None:
    """Instruments the Flask application and the libraries it calls with. The SDK reads service
    name, resource attributes, endpoint and captured headers from the usual OTEL_* variables."""
    if not traced():
        return
    from opentelemetry import trace
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(with_ledger(exporter(), truth)))
    trace.set_tracer_provider(provider)
    FlaskInstrumentor().instrument_app(app)
    RequestsInstrumentor().instrument()
    RedisInstrumentor().instrument()


def exporter():
    if os.environ[TRACED] == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(insecure=True)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def with_ledger(inner, truth: TruthLog):
    """Writes down the ids of spans for which the collector said that it has stored them."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class LedgerExporter(SpanExporter):
        def export(self, spans):
            result = inner.export(spans)
            if result is SpanExportResult.SUCCESS:
                contexts = [span.get_span_context() for span in spans]
                ids = [f"{c.trace_id:032x}:{c.span_id:016x}" for c in contexts]
                truth.write("acknowledged", spans=ids)
            return result

        def shutdown(self):
            inner.shutdown()

        def force_flush(self, timeout_millis=30000):
            return inner.force_flush(timeout_millis)

    return LedgerExporter()


def leave_marker(marker: str) -> None:
    """Puts the run's marker wherever an application could put a secret into a span."""
    if not traced():
        return
    from opentelemetry import trace

    span = trace.get_current_span()
    span.set_attribute("app.customer", marker)
    span.set_attribute("enduser.id", marker)
    span.set_attribute("db.query.text", f"select '{marker}'")
    span.add_event("basket", {"content": marker})
    span.record_exception(ValueError(f"card of {marker} refused"))
