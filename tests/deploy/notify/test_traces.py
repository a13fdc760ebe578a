"""What is sent is decoded as an OTLP collector does, by OpenTelemetry's own protobuf."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from deploy.notify.posting import NotDelivered
from deploy.notify.spans import Call, spans_of
from deploy.notify.traces import send_spans
from deploy.readers.timeline import Timeline
from tests.deploy.eventful import EPOCH_S, Story
from tests.deploy.notify.listening import Listener, listening

CALL = Call("list", "", EPOCH_S, EPOCH_S + 0.25)
SPANS = spans_of(Timeline.of(Story(broken=1).tell()), [CALL])


def received(listener: Listener) -> list[Span]:
    found: list[Span] = []
    for got in listener.got:
        assert got.path == "/v1/traces"
        assert got.headers["content-type"] == "application/x-protobuf"
        for resource in ExportTraceServiceRequest.FromString(got.body).resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert attributes["service.name"] == "tidegate"
            for scope in resource.scope_spans:
                found += scope.spans
    return found


@pytest.mark.parametrize("suffix", ["", "/", "/v1/traces"])
def test_a_collector_gets_every_span_under_its_parent_at_its_time(suffix: str) -> None:
    with listening((200, b"")) as listener:
        send_spans(SPANS, listener.address + suffix, {})
    spans = received(listener)
    assert [span.name for span in spans] == [span.name for span in SPANS]
    assert len({span.trace_id for span in spans}) == 1
    for sent, span in zip(SPANS, spans, strict=True):
        parent = spans[sent.parent].span_id if sent.parent is not None else b""
        assert span.parent_span_id == parent
        assert span.start_time_unix_nano == int(sent.begin_s * 1e9)
        assert span.end_time_unix_nano == int(sent.end_s * 1e9)
        is_error = span.status.code == Status.StatusCode.STATUS_CODE_ERROR
        assert is_error == bool(sent.problem)
    (call,) = [span for span in spans if span.name == "call list"]
    assert call.kind == Span.SpanKind.SPAN_KIND_CLIENT


def test_a_fleet_of_many_spans_is_sent_in_parts() -> None:
    many = spans_of(Timeline.of(Story().tell()), [CALL] * 1500)
    with listening((200, b"")) as listener:
        send_spans(many, listener.address, {})
    assert len(listener.got) > 1
    assert len(received(listener)) == len(many)


def test_the_run_belongs_to_the_trace_of_who_started_it() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with listening((200, b"")) as listener:
        send_spans(SPANS, listener.address, {"TRACEPARENT": parent})
    run = received(listener)[0]
    assert run.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert run.parent_span_id.hex() == "b7ad6b7169203331"


def test_the_endpoint_may_come_from_opentelemetrys_own_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening((200, b"")) as listener:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listener.address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=red")
        send_spans(SPANS, "", {})
    assert len(received(listener)) == len(SPANS)
    assert listener.got[0].headers["x-team"] == "red"


def test_a_collector_that_refuses_is_told_by_its_host_alone() -> None:
    with listening((401, b"")) as listener, pytest.raises(NotDelivered) as failure:
        send_spans(SPANS, f"{listener.address}/s3cret", {})
    assert str(failure.value) == f"traces: {listener.address} did not take them"
