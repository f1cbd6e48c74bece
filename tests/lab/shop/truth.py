"""The truth file: one JSON line for each side of each call, appended by whoever was that side.

A call is named by the request's number and its place in the call tree: request `17`, its first call
`17/0`, the second call made by whoever served `17/0` is `17/0/1`. The header `X-Lab-Call` carries
that name; the product reads no headers. Servers write on receipt, before they call anyone, so that
what a killed pod had begun to serve is known too. Kinds of lines:

    client  one finished call: pod, service addressed, socket ends, start, end, outcome
    server  one received call: pod, socket ends, time
    store   one command that Redis says it got: socket ends, time (Redis reads no header)
    proxy   one request that nginx finished: socket ends, addresses it tried, request id
    acknowledged   ids of spans for which the collector said "stored"
"""

import json
import os
import time

from .contract import TRUTH_FILE

HEADER = "X-Lab-Call"
HOLD_HEADER = "X-Lab-Hold"
"""Asks the cart that serves the call to wait, so that it can be killed meanwhile."""
DROP_HEADER = "X-Lab-Drop"
"""Names the frontend that is to hang up without an answer, so that the ingress tries the other."""


class TruthLog:
    """Appends lines; one write a line keeps lines of many processes whole."""

    def __init__(self, path: str | None = None, pod: str | None = None):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path or os.environ[TRUTH_FILE], flags, 0o644)
        self._pod = pod or os.environ.get("POD_NAME", "client")

    def write(self, kind: str, **fields) -> None:
        line = json.dumps({"kind": kind, "pod": self._pod, **fields}, separators=(",", ":"))
        os.write(self._file, line.encode() + b"\n")

    def client(self, call, service, ends, start_ns, outcome, **fields) -> None:
        local, remote = ends or (None, None)
        self.write(
            "client",
            call=call,
            service=service,
            local=local,
            remote=remote,
            start_ns=start_ns,
            end_ns=time.time_ns(),
            outcome=outcome,
            **fields,
        )

    def server(self, call, ends) -> None:
        local, remote = ends
        self.write("server", call=call, local=local, remote=remote, time_ns=time.time_ns())


def socket_ends(sock) -> tuple[str, str]:
    """Both addresses of a connected socket as `ip:port`, its own first."""
    return address(sock.getsockname()), address(sock.getpeername())


def address(name) -> str:
    ip, port = name[:2]
    return f"{ip}:{port}"
