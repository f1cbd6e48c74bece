"""Spoils the rows of a real run, one error at a time, and sees whether the scorer notices.

That every path of a run is judged to be true says something only of a scorer that would have seen
it otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

from score import tables, truth
from score.line import count
from score.tables import AssertedPath

HOPS_MIN = 5


def found(connection, out: Path) -> str:
    true = truth.read(out / "truth.jsonl")
    paths = tables.current_paths(connection, out / "tables")
    before = count("unspoiled", true, paths, {})
    spoiled = next(i for i, path in enumerate(paths) if len(path.hops) >= HOPS_MIN)
    for error, (spoil, is_wrong) in ERRORS.items():
        changed = [*paths]
        changed[spoiled] = copy.deepcopy(paths[spoiled])
        spoil(changed[spoiled])
        after = count(error, true, changed, {})
        seen = after.wrong == before.wrong + 1 if is_wrong else after.short == before.short + 1
        assert seen and after.correct == before.correct - 1, f"{error} is not seen: {after.line()}"
    return f"{len(ERRORS)} kinds of errors"


def wrong_pod(path: AssertedPath) -> None:
    path.hops[2].destination_pod = "cart-9"


def wrong_service(path: AssertedPath) -> None:
    path.hops[2].service = "price"


def wrong_tuple(path: AssertedPath) -> None:
    path.hops[2].nat_reply = path.hops[0].nat_reply


def wrong_parent(path: AssertedPath) -> None:
    path.hops[3].parent = 0


def swapped_order(path: AssertedPath) -> None:
    path.hops[3].position, path.hops[4].position = 4, 3


def invented_hop(path: AssertedPath) -> None:
    path.hops.append(copy.deepcopy(path.hops[3]))
    path.hops[-1].position = len(path.hops) - 1
    path.hops[-1].source = "10.244.1.99:1"
    path.hops[-1].destination = path.hops[-1].requested = "10.244.2.99:1"


def missing_hop(path: AssertedPath) -> None:
    del path.hops[-1]


ERRORS: dict[str, tuple[Callable[[AssertedPath], None], bool]] = {
    "wrong pod": (wrong_pod, True),
    "wrong service": (wrong_service, True),
    "wrong tuple": (wrong_tuple, True),
    "wrong parent": (wrong_parent, True),
    "swapped order": (swapped_order, True),
    "invented hop": (invented_hop, True),
    "missing hop": (missing_hop, False),
}
"""What is planted, and whether it is false or only leaves the path short."""
