"""A small true request, by hand, and a path that tells it truly."""

from __future__ import annotations

from score import truth
from score.tables import AssertedHop, AssertedPath

MS = 1_000_000
LINES = [
    {"kind": "client", "pod": "client", "call": "7", "service": "ingress",
     "local": "198.18.0.2:41000", "remote": "10.89.0.11:30080", "start_ns": 100 * MS,
     "end_ns": 150 * MS, "outcome": "200", "request_id": "0F0E0D0C-0B0A-9908-8706-050403020100"},
    {"kind": "proxy", "pod": "ingress-0", "call": "7", "request_id": "x",
     "local": "10.244.2.6:8080", "remote": "10.89.0.11:53570", "attempts": "10.244.1.4:8080"},
    {"kind": "server", "pod": "frontend-0", "call": "7/0", "local": "10.244.1.4:8080",
     "remote": "10.244.2.6:38292", "time_ns": 102 * MS},
    {"kind": "client", "pod": "frontend-0", "call": "7/0/0", "service": "cart",
     "local": "10.244.1.4:50084", "remote": "10.96.0.9:80", "start_ns": 103 * MS,
     "end_ns": 140 * MS, "outcome": "200"},
    {"kind": "server", "pod": "cart-1", "call": "7/0/0", "local": "10.244.2.4:8080",
     "remote": "10.244.1.4:50084", "time_ns": 104 * MS},
    {"kind": "client", "pod": "cart-1", "call": "7/0/0/0", "service": "store",
     "local": "10.244.2.4:42702", "remote": "10.96.0.8:6379", "start_ns": 105 * MS,
     "end_ns": 106 * MS, "outcome": "ok"},
    {"kind": "store", "pod": "store-0", "local": "10.244.2.2:6379",
     "remote": "10.244.2.4:42702", "time_ns": 105 * MS},
    {"kind": "client", "pod": "cart-1", "call": "7/0/0/1", "service": "cart",
     "local": "10.244.2.4:44474", "remote": "10.96.0.9:80", "start_ns": 110 * MS,
     "end_ns": 130 * MS, "outcome": "200"},
    {"kind": "server", "pod": "cart-1", "call": "7/0/0/1", "local": "10.244.2.4:8080",
     "remote": "10.89.0.12:51963", "time_ns": 112 * MS},
]  # fmt: skip


def later(lines: list[dict], number: int, by_ns: int) -> list[dict]:
    """The same as another request, on the same connections."""
    moved = []
    for line in lines:
        call = line.get("call")
        times = {k: v + by_ns for k, v in line.items() if k.endswith("_ns")}
        moved.append({**line, **times})
        if call:
            moved[-1]["call"] = str(number) + call[1:]
        if "request_id" in line:
            moved[-1]["request_id"] = f"other-{number}"
    return moved


def retried(lines: list[dict]) -> list[dict]:
    """The same after a first try at another frontend, which hung up."""
    first_try = {
        "kind": "server",
        "pod": "frontend-1",
        "call": "7/0",
        "local": "10.244.2.5:8080",
        "remote": "10.244.2.6:40000",
        "time_ns": 101 * MS,
    }
    attempts = {"attempts": "10.244.2.5:8080, 10.244.1.4:8080"}
    return [first_try, *(line | attempts if line["kind"] == "proxy" else line for line in lines)]


def true_requests() -> list[truth.TrueRequest]:
    return truth.requests(LINES + later(LINES, 8, 1000 * MS))


def told(request: truth.TrueRequest, verdict: str = "complete") -> AssertedPath:
    """The path row of a product that knows everything."""
    # Of several tries the last one is the one that was answered.
    position_of = {hop.call: position for position, hop in enumerate(request.hops)}
    hops = [
        AssertedHop(
            position,
            position_of.get(hop.parent),
            hop.attempt,
            hop.source_pod,
            hop.source,
            hop.requested,
            next(iter(hop.services)),
            hop.destination_pod,
            hop.destination,
            hop.nat,
            hop.nat_original,
            hop.nat_reply,
            hop.start_ns,
            hop.end_ns,
        )
        for position, hop in enumerate(request.hops)
    ]
    return AssertedPath(
        f"path-{request.number}", request.request_id, verdict, [], [],
        request.start_ns, request.end_ns, hops,
    )  # fmt: skip
