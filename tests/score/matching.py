"""Which path rows are about which request."""

from __future__ import annotations

from collections import defaultdict

from .tables import AssertedPath
from .truth import TrueRequest

CLOCK_NS = 50_000_000


class Requests:
    """The requests of a run, to be found by what a path row says of its beginning."""

    def __init__(self, requests: list[TrueRequest]):
        self.by_id = {r.request_id: r for r in requests if r.request_id}
        self.by_source: dict[str, list[TrueRequest]] = defaultdict(list)
        self.by_arrival: dict[str, list[TrueRequest]] = defaultdict(list)
        for request in requests:
            self.by_source[request.source].append(request)
            for hop in request.hops:
                if hop.source:
                    self.by_arrival[hop.source].append(request)

    def of(self, path: AssertedPath) -> TrueRequest | None:
        """By the client's port and the time, else by the request id; a row that begins inside the
        cluster (its upper part is missing) by the connection that it begins with."""
        source = path.hops[0].source if path.hops else None
        return (
            at_the_time(path, self.by_source.get(source, []))
            or self.by_id.get(path.request_id)
            or at_the_time(path, self.by_arrival.get(source, []))
        )

    def rows_of(self, paths: list[AssertedPath]) -> tuple[dict[int, list[AssertedPath]], list]:
        """Rows by request number, the one that tells most first, and rows about no request."""
        found: dict[int, list[AssertedPath]] = defaultdict(list)
        unknown = []
        for path in paths:
            request = self.of(path)
            if request is None:
                unknown.append(path)
            else:
                found[request.number].append(path)
        for rows in found.values():
            rows.sort(key=lambda path: (-len(path.hops), path.path_id))
        return found, unknown


def at_the_time(path: AssertedPath, candidates: list[TrueRequest]) -> TrueRequest | None:
    """The candidate during which the path began, or the one nearest to its beginning. A client asks
    again on the same connection a moment after it was answered."""

    def apart_ns(request: TrueRequest) -> int:
        return max(request.start_ns - path.start_ns, path.start_ns - request.end_ns, 0)

    nearest = min(candidates, key=apart_ns, default=None)
    return nearest if nearest is not None and apart_ns(nearest) <= CLOCK_NS else None
