"""Whether what the product asserts is so.

A hop of the product is first identified with a call that really happened: the one on the same
connection at the same time. Then each field is compared. What the product leaves open (null) is
never false, but then the path is not correct either. What the truth does not know is not compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .tables import AssertedHop, AssertedPath
from .truth import TrueHop, TrueRequest

CLOCK_NS = 5_000_000
"""The kernel stamps packets, the shop its own code around them; both on one machine's clock."""


@dataclass
class Judgement:
    """What is to be said against one path."""

    false: list[str] = field(default_factory=list)
    """Asserted, and not so."""
    absent: list[str] = field(default_factory=list)
    """So, and not asserted."""


class Calls:
    """Every call of a run, to be found by connection and time."""

    def __init__(self, requests: Iterable[TrueRequest]):
        self.by_connection: dict[tuple, list[TrueHop]] = defaultdict(list)
        self.by_destination: dict[str, list[TrueHop]] = defaultdict(list)
        for request in requests:
            for hop in request.hops:
                if hop.source and hop.requested:
                    self.by_connection[hop.source, hop.requested].append(hop)
                if hop.destination:
                    self.by_destination[hop.destination].append(hop)

    def identify(self, hop: AssertedHop, request: TrueRequest) -> TrueHop | None:
        """The call that this hop is about. One connection carries one call at a time, so its
        arrival and the longest overlap tell it; a hop whose client is unknown is looked for in the
        request."""
        if hop.source and hop.requested:
            candidates = self.by_connection[hop.source, hop.requested]
            # A client that the product saw only from the server's side has no requested address
            # of its own; then the server's is repeated and the connection is not found.
            if candidates:
                return best(hop, candidates)
        at_server = self.by_destination[hop.destination or hop.requested or ""]
        return best(hop, [call for call in at_server if call.number == request.number])


def best(hop: AssertedHop, candidates: list[TrueHop]) -> TrueHop | None:
    """A client's call begins before it has a connection, and lasts beyond the hop: of calls that
    wait for one connection, the one that came to its server during the hop is meant."""
    near = [call for call in candidates if overlap(hop, call) >= -CLOCK_NS]
    came = [call for call in near if call.arrived_ns is None or is_during(hop, call.arrived_ns)]
    return max(came or near, key=lambda call: overlap(hop, call), default=None)


def is_during(hop: AssertedHop, ns: int) -> bool:
    return hop.start_ns - CLOCK_NS <= ns <= hop.end_ns + CLOCK_NS


def overlap(hop: AssertedHop, call: TrueHop) -> int:
    """How long both lasted together; negative, how far they are apart."""
    return min(hop.end_ns, call.end_ns) - max(hop.start_ns, call.start_ns)


def judge(path: AssertedPath, request: TrueRequest, calls: Calls) -> Judgement:
    judgement = Judgement()
    known: dict[int, TrueHop] = {}
    for hop in path.hops:
        call = calls.identify(hop, request)
        place = f"hop {hop.position} ({hop.source} to {hop.requested})"
        if call is None:
            judgement.false.append(f"{place} never happened")
        elif call.number != request.number:
            judgement.false.append(f"{place} belongs to request {call.number}")
        elif any(call is other for other in known.values()):
            judgement.false.append(f"{place} is told twice")
        else:
            known[hop.position] = call
            compare(hop, call, place, judgement)
    judge_parents(path, known, judgement)
    judge_order(request, known, judgement)
    for call in request.hops:
        if not any(call is other for other in known.values()):
            judgement.absent.append(f"call {call.call} is not in the path")
    return judgement


def compare(hop: AssertedHop, call: TrueHop, place: str, judgement: Judgement) -> None:
    fields = {
        "source_pod": call.source_pod,
        "source": call.source,
        "requested": call.requested,
        "destination_pod": call.destination_pod,
        "destination": call.destination,
        "nat": call.nat,
        "nat_original": call.nat_original,
        "nat_reply": call.nat_reply,
        "attempt": call.attempt,
    }
    # These are not unknown: there was no such thing.
    nothing = {"source_pod"} if call.parent is None else set()
    if call.nat == "none":
        nothing |= {"nat_original", "nat_reply"}
    for name, true in fields.items():
        asserted = getattr(hop, name)
        if asserted is None and true is not None:
            judgement.absent.append(f"{place}: {name}, which was {true}")
        elif asserted is not None and asserted != true and (true is not None or name in nothing):
            judgement.false.append(f"{place}: {name} is said to be {asserted}, was {true}")
    if call.services and hop.service not in call.services:
        into = judgement.absent if hop.service is None else judgement.false
        true_names = sorted(map(str, call.services))
        into.append(f"{place}: service is said to be {hop.service}, was {true_names}")


def judge_parents(path: AssertedPath, known: dict[int, TrueHop], judgement: Judgement) -> None:
    for hop in path.hops:
        call = known.get(hop.position)
        if call is None:
            continue
        parent = known.get(hop.parent) if hop.parent is not None else None
        if hop.parent is None and call.parent is not None:
            judgement.absent.append(f"hop {hop.position}: parent, which was call {call.parent}")
        elif hop.parent is not None and (parent is None or not is_parent(parent, call)):
            said = (
                f"{parent.call} at {parent.destination_pod}" if parent else "none of this request"
            )
            was = f"{call.parent} at {call.source_pod}"
            judgement.false.append(f"hop {hop.position}: parent is said to be {said}, was {was}")


def is_parent(parent: TrueHop, call: TrueHop) -> bool:
    """The tries of one call share its name; the one that was served where the call was made is the
    parent."""
    known = None not in (parent.destination_pod, call.source_pod)
    return parent.call == call.parent and (not known or parent.destination_pod == call.source_pod)


def judge_order(request: TrueRequest, known: dict[int, TrueHop], judgement: Judgement) -> None:
    place_of = {id(call): place for place, call in enumerate(request.hops)}
    told = [place_of[id(known[position])] for position in sorted(known)]
    if told != sorted(told):
        calls = [known[position].call for position in sorted(known)]
        judgement.false.append(f"the order is said to be {calls}")
