"""Sends to the collector what nobody should send, and says as JSON what it answered.

It runs inside a namespace that reaches the collector.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import time

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from lab.constants import AGENT_PORT, COLLECTOR_IP, OTLP_GRPC_PORT, OTLP_HTTP_PORT, SYSLOG_PORT

HUGE_BYTES = 100 * 1024 * 1024
PIECE = bytes(1024 * 1024)
OTLP_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
AGENT_PUSH = "/throughline.agent.v1.Ingest/Push"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
NEIGHBOUR_TRACE = bytes.fromhex("5eed" * 8)
"""Trace of the good spans that travel with the bad ones."""
RANDOM = b"\xfb\x9c\x07"


def main() -> None:
    answers = {
        "random_http": post(RANDOM),
        "random_json": post(RANDOM, JSON),
        "random_gzip": post(RANDOM, encoding="gzip"),
        "random_grpc": call(RANDOM),
        "random_agent": call(RANDOM, AGENT_PUSH, AGENT_PORT),
        "empty_http": post(b""),
        "empty_json": post(b"", JSON),
        "empty_grpc": call(b""),
        "huge_http": post_huge(),
        "huge_gzip": post(gzip.compress(bytes(HUGE_BYTES), 1), encoding="gzip"),
        "huge_grpc": call(bytes(HUGE_BYTES)),
        "span_without_ids_http": post(request_with_bad_span(b"\1" * 8)),
        "span_without_ids_grpc": call(request_with_bad_span(b"\2" * 8)),
    }
    log_lines()
    print(json.dumps(answers))


def post(body: bytes, kind: str = PROTOBUF, encoding: str | None = None) -> dict:
    connection = http.client.HTTPConnection(COLLECTOR_IP, OTLP_HTTP_PORT, timeout=30)
    headers = {"Content-Type": kind} | ({"Content-Encoding": encoding} if encoding else {})
    connection.request("POST", "/v1/traces", body, headers)
    return answer(connection)


def post_huge() -> dict:
    """In pieces, and the answer may come before the last one."""
    connection = http.client.HTTPConnection(COLLECTOR_IP, OTLP_HTTP_PORT, timeout=30)
    connection.putrequest("POST", "/v1/traces")
    connection.putheader("Content-Type", PROTOBUF)
    connection.putheader("Content-Length", str(HUGE_BYTES))
    connection.endheaders()
    try:
        for _ in range(HUGE_BYTES // len(PIECE)):
            connection.send(PIECE)
    except ConnectionError:
        pass
    return answer(connection)


def answer(connection: http.client.HTTPConnection) -> dict:
    try:
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        return {"status": type(error).__name__}
    finally:
        connection.close()
    rejected = None
    if response.status == 200 and response.getheader("Content-Type") == PROTOBUF:
        reply = service.ExportTraceServiceResponse.FromString(body)
        rejected = reply.partial_success.rejected_spans
    return {"status": response.status, "rejected": rejected}


def call(body: bytes, method: str = OTLP_EXPORT, port: int = OTLP_GRPC_PORT) -> dict:
    """A call with these bytes as its message."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"{COLLECTOR_IP}:{port}", options=options) as channel:
        export = channel.unary_unary(
            method,
            request_serializer=bytes,
            response_deserializer=service.ExportTraceServiceResponse.FromString,
        )
        try:
            reply = export(body, timeout=30)
        except grpc.RpcError as error:
            return {"status": error.code().name}
    return {"status": "OK", "rejected": reply.partial_success.rejected_spans}


def request_with_bad_span(span_id: bytes) -> bytes:
    """Three spans, the middle one without ids."""
    now = time.time_ns()
    times = {"start_time_unix_nano": now, "end_time_unix_nano": now + 1}
    good = [
        trace.Span(trace_id=NEIGHBOUR_TRACE, span_id=span_id[:-1] + bytes([n]), name="n", **times)
        for n in (8, 9)
    ]
    spans = [good[0], trace.Span(name="n", **times), good[1]]
    request = service.ExportTraceServiceRequest(
        resource_spans=[trace.ResourceSpans(scope_spans=[trace.ScopeSpans(spans=spans)])]
    )
    return request.SerializeToString()


def log_lines() -> None:
    """By TCP a whole line of a request that has an id of its own, one cut in its middle, another
    whole one; by UDP one cut line and three random bytes."""
    whole = log_line("hostile-neighbour-1"), log_line("hostile-neighbour-2")
    cut = log_line("never")[:90]
    with socket.create_connection((COLLECTOR_IP, SYSLOG_PORT), timeout=10) as stream:
        stream.sendall(b"\n".join((whole[0], cut, whole[1])) + b"\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for datagram in (cut, RANDOM, b"", os.urandom(3)):
            datagrams.sendto(datagram, (COLLECTOR_IP, SYSLOG_PORT))


def log_line(request_id: str) -> bytes:
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    header = time.strftime("<190>%b %e %H:%M:%S ingress: ", time.gmtime())
    return (
        f'{header}10.89.0.11 - - [{stamp}] "GET /hostile/1 HTTP/1.1" 200 12 "-" "-" 300 0.010 '
        f"[shop-frontend-80] [] 10.244.1.250:8080 12 0.010 200 {request_id}"
    ).encode()


if __name__ == "__main__":
    main()
