"""The bars of the four scored runs."""

from __future__ import annotations

from lab.run import Finished
from score.line import Score
from score.truth import TrueRequest

QUERYABLE_P99_MAX_S = 30
UNTRACED_CORRECT_MIN = 0.95
REQUESTS_MIN = 1000
REPLICAS = 2
REUSE_MIN = 4
"""Hops a connection, on average."""


def all_true(score: Score) -> str:
    """Traced: every request has a path, complete and true in every part."""
    assert score.requests >= REQUESTS_MIN, score.line()
    assert score.wrong == 0, explained(score)
    assert score.complete == score.correct == score.requests, explained(score)
    return score.line()


def none_false(score: Score) -> str:
    """Untraced: nothing false, nearly everything complete and true, the rest with a reason."""
    assert score.requests >= REQUESTS_MIN, score.line()
    assert score.wrong == 0, explained(score)
    assert score.correct >= UNTRACED_CORRECT_MIN * score.requests, explained(score)
    assert score.short == 0 and score.missing == 0, explained(score)
    without_reason = [r for r in score.remarks if " is open: " in r and "is open:  [" in r]
    assert not without_reason, f"open without a reason: {without_reason[:3]}"
    return score.line()


def queryable(score: Score) -> str:
    assert score.queryable_p99_s is not None, "no path was ever committed"
    assert score.queryable_p99_s <= QUERYABLE_P99_MAX_S, score.line()
    return f"p50 {score.queryable_p50_s} s, p99 {score.queryable_p99_s} s"


def backend_was_killed(finished: Finished, score: Score) -> str:
    """The request whose backend was killed failed at the client, and is one of those scored."""
    assert finished.driven.killed_request is not None
    assert score.failed_requests == 1, score.line()
    return f"request {finished.driven.killed_request}, {finished.driven.killed_pod}"


def traffic_is_varied(true: list[TrueRequest]) -> str:
    """A run that asks little would be easy to tell truly: there are calls of a pod to itself and to
    the other replica through its own Service, both replicas of every Service that has two are
    chosen, the ingress tries again elsewhere, and connections carry more than one request."""
    hops = [hop for request in true for hop in request.hops]
    own = [
        hop for hop in hops if (hop.source_pod or "").startswith("cart") and "cart" in hop.services
    ]
    hairpins = sum(hop.source_pod == hop.destination_pod for hop in own)
    assert 0 < hairpins < len(own), f"{hairpins} of {len(own)} calls of cart reach the caller"
    for service in ("cart", "price"):
        pods = {hop.destination_pod for hop in hops if service in hop.services}
        assert len(pods) >= REPLICAS, f"{service} was only served by {pods}"
    retried = sum(hop.attempt > 1 for hop in hops)
    assert retried > 0, "the ingress never tried another frontend"
    connections = {(hop.source, hop.requested) for hop in hops}
    assert len(hops) > REUSE_MIN * len(connections), f"{len(connections)} connections"
    count = f"{len(hops)} hops on {len(connections)} connections"
    return f"{count}, {hairpins} hairpins, {retried} retries"


def explained(score: Score) -> str:
    return "\n  ".join([score.line(), *score.worst(5)])
