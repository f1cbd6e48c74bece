"""What really happened: the truth file as requests, each with its hops in true order."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

CLIENT = "client"
"""Name of the outside client in the truth file; its address is compared as `EXTERNAL`."""

EXTERNAL = "ext"
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
STORE_CLOCK_NS = 2_000_000
"""Redis stamps commands with a clock that it reads now and then."""


@dataclass
class TrueHop:
    """One call. What is None is not known to the truth either, and is not compared."""

    call: str
    parent: str | None
    attempt: int
    source_pod: str | None
    source: str | None
    requested: str | None
    services: frozenset[str | None]
    """Names that may be given for the Service: more than one where the call had none of its own."""
    destination_pod: str | None
    destination: str | None
    arrived_from: str | None
    """The remote end that the server's socket saw."""
    start_ns: int
    end_ns: int
    arrived_ns: int | None = None
    """When the server had read it."""

    @property
    def number(self) -> int:
        return int(self.call.split("/")[0])

    @property
    def nat(self) -> str | None:
        """`none`, `dnat`, `snat` or `dnat+snat`; None when one of the ends is not known."""
        if None in (self.source, self.requested, self.destination, self.arrived_from):
            return None
        changes = []
        if self.requested != self.destination:
            changes.append("dnat")
        if self.source != self.arrived_from:
            changes.append("snat")
        return "+".join(changes) or "none"

    @property
    def nat_original(self) -> str | None:
        return None if self.nat in (None, "none") else f"{self.source}->{self.requested}"

    @property
    def nat_reply(self) -> str | None:
        return None if self.nat in (None, "none") else f"{self.destination}->{self.arrived_from}"


@dataclass
class TrueRequest:
    number: int
    request_id: str | None
    source: str
    """`ext:port` of the outside client."""
    start_ns: int
    end_ns: int
    outcome: str
    hops: list[TrueHop] = field(default_factory=list)
    """Depth first, calls of one server in the order it made them."""


def read(path: Path) -> list[TrueRequest]:
    content = Path(path).read_bytes().split(b"\n")
    return requests(json.loads(line) for line in content if line)


def requests(lines: Iterable[dict]) -> list[TrueRequest]:
    sides = Sides(lines)
    found = [sides.request(line) for line in sides.entries]
    return sorted(found, key=lambda request: request.number)


class Sides:
    """The lines of the truth file by kind and call."""

    def __init__(self, lines: Iterable[dict]):
        self.entries: list[dict] = []
        self.clients: dict[str, dict] = {}
        self.servers: dict[str, list[dict]] = defaultdict(list)
        self.proxies: dict[str, dict] = {}
        self.store: dict[str, list[dict]] = defaultdict(list)
        self.calls_of: dict[int, set[str]] = defaultdict(set)
        for line in lines:
            self.add(line)

    def add(self, line: dict) -> None:
        kind = line["kind"]
        if kind == "store":
            self.store[line["remote"]].append(line)
        elif kind == "proxy":
            self.proxies[line["call"]] = line
        elif kind == "client" and line["pod"] == CLIENT:
            self.entries.append(line)
        elif kind == "client":
            self.clients[line["call"]] = line
            self.calls_of[number_of(line["call"])].add(line["call"])
        elif kind == "server":
            self.servers[line["call"]].append(line)
            self.calls_of[number_of(line["call"])].add(line["call"])

    def request(self, entry: dict) -> TrueRequest:
        number = number_of(entry["call"])
        proxy = self.proxies.get(entry["call"])
        source = external(entry["local"])
        request = TrueRequest(
            number,
            canonical(entry.get("request_id") or (proxy or {}).get("request_id")),
            source,
            entry["start_ns"],
            entry["end_ns"],
            entry["outcome"],
        )
        request.hops.append(self.entry_hop(entry, proxy, source))
        ordered = sorted(self.calls_of[number], key=place)
        for call in ordered:
            if call.count("/") == 1:
                request.hops.extend(self.attempts(call, entry, proxy))
            else:
                request.hops.append(self.service_hop(call))
        return request

    def entry_hop(self, entry: dict, proxy: dict | None, source: str) -> TrueHop:
        proxy = proxy or {}
        return TrueHop(
            call=entry["call"],
            parent=None,
            attempt=1,
            source_pod=None,
            source=source,
            requested=entry["remote"],
            services=frozenset({entry["service"]}),
            destination_pod=proxy.get("pod"),
            destination=proxy.get("local"),
            arrived_from=proxy.get("remote"),
            start_ns=entry["start_ns"],
            end_ns=entry["end_ns"],
        )

    def attempts(self, call: str, entry: dict, proxy: dict | None) -> list[TrueHop]:
        """The servers that nginx tried, in its order; it addresses pods, so nothing is translated.
        A server that refused has written no line."""
        received = {line["local"]: line for line in self.servers[call]}
        tried = proxy["attempts"].split(", ") if proxy else sorted(received)
        return [
            TrueHop(
                call=call,
                parent=entry["call"],
                attempt=attempt,
                source_pod=(proxy or {}).get("pod"),
                source=received.get(address, {}).get("remote"),
                requested=address,
                services=frozenset({None, "frontend"}),
                destination_pod=received.get(address, {}).get("pod"),
                destination=address,
                arrived_from=received.get(address, {}).get("remote"),
                start_ns=entry["start_ns"],
                end_ns=entry["end_ns"],
                arrived_ns=received.get(address, {}).get("time_ns"),
            )
            for attempt, address in enumerate(tried, 1)
        ]

    def service_hop(self, call: str) -> TrueHop:
        parent = call.rsplit("/", 1)[0]
        client = self.clients.get(call)
        server = self.server_of(call, client)
        # A killed pod did not live to write its own side of the call that it was making.
        servers = {line["pod"] for line in self.servers[parent]}
        caller = client["pod"] if client else servers.pop() if len(servers) == 1 else None
        seen_ns = server.get("time_ns")
        return TrueHop(
            call=call,
            parent=parent,
            attempt=1,
            source_pod=caller,
            source=client["local"] if client else None,
            requested=client["remote"] if client else None,
            services=frozenset({client["service"]} if client else ()),
            destination_pod=server.get("pod"),
            destination=server.get("local"),
            arrived_from=server.get("remote"),
            start_ns=client["start_ns"] if client else seen_ns,
            end_ns=client["end_ns"] if client else seen_ns,
            arrived_ns=seen_ns,
        )

    def server_of(self, call: str, client: dict | None) -> dict:
        if self.servers[call]:
            return self.servers[call][-1]
        if client is None or client["service"] != "store":
            return {}
        begin, end = client["start_ns"] - STORE_CLOCK_NS, client["end_ns"] + STORE_CLOCK_NS
        within = [s for s in self.store[client["local"]] if begin <= s["time_ns"] <= end]
        return min(within, key=lambda s: abs(s["time_ns"] - client["end_ns"]), default={})


def number_of(call: str) -> int:
    return int(call.split("/")[0])


def place(call: str) -> list[int]:
    """Sorts calls depth first: a call comes before the calls that it caused."""
    return [int(part) for part in call.split("/")]


def external(address: str | None) -> str | None:
    return None if address is None else f"{EXTERNAL}:{address.rsplit(':', 1)[1]}"


def canonical(request_id: str | None) -> str | None:
    """As the product stores it: lower case without dashes, and in a UUID the digit that proxies
    rewrite to say whether they sample is a 4."""
    if not request_id:
        return None
    plain = request_id.lower().replace("-", "")
    return plain[:12] + "4" + plain[13:] if UUID.match(request_id) else plain
