"""The scorer's line: one JSON object a run, its first keys in the order that the bars name them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from . import tables, truth
from .judgement import Calls, Judgement, judge
from .matching import Requests


@dataclass
class Score:
    run: str
    requests: int
    complete: int = 0
    correct: int = 0
    wrong: int = 0
    ambiguous: int = 0
    partial: int = 0
    missing: int = 0
    queryable_p50_s: float | None = None
    queryable_p99_s: float | None = None
    failed: int = 0
    short: int = 0
    """Said to be complete, nothing false in it, and yet something of the truth is absent."""
    unasked: int = 0
    """Path rows that are about no request of the client."""
    failed_requests: int = 0
    """Requests that the client got an error for."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why paths are not complete: reason codes and how many paths name them."""
    remarks: list[str] = field(default_factory=list)
    """What is wrong, absent or open, one line a path. Not part of the line."""

    def worst(self, count: int) -> list[str]:
        """Remarks on what is false before those on what is missing before what is open."""
        return sorted(self.remarks, key=urgency)[:count]

    def line(self) -> str:
        fields = {k: v for k, v in vars(self).items() if k != "remarks"}
        return json.dumps(fields, separators=(",", ":"))


def score(out: Path) -> Score:
    """Scores one run from its folder, and keeps the line there."""
    connection = tables.connect()
    run = json.loads((out / "run.json").read_text())
    true = truth.read(out / "truth.jsonl")
    paths = tables.current_paths(connection, out / "tables")
    commits = tables.first_commits(connection, out / "tables")
    result = count(run["name"], true, paths, commits)
    (out / "score.json").write_text(result.line() + "\n")
    return result


def count(run: str, true: list[truth.TrueRequest], paths, commits: dict[str, int]) -> Score:
    result = Score(run, len(true))
    calls = Calls(true)
    rows, unknown = Requests(true).rows_of(paths)
    result.unasked = len(unknown)
    waits = []
    for request in true:
        result.failed_requests += not request.outcome.startswith("2")
        of_request = rows.get(request.number, [])
        if not of_request:
            result.missing += 1
            result.remarks.append(f"request {request.number}: no path")
            continue
        judgements = [judge(path, request, calls) for path in of_request]
        count_request(result, request, of_request, judgements)
        first_ns = [commits[path.path_id] for path in of_request if path.path_id in commits]
        if first_ns:
            waits.append((min(first_ns) - request.end_ns) / 1e9)
    for path in unknown:
        result.remarks.append(f"path {path.path_id} ({path.verdict}) is about no request")
    result.queryable_p50_s = percentile(waits, 0.50)
    result.queryable_p99_s = percentile(waits, 0.99)
    result.reasons = dict(sorted(result.reasons.items()))
    return result


def count_request(result: Score, request, paths, judgements: list[Judgement]) -> None:
    """One verdict a request: that of the row that tells most. Rows beside it add what is false."""
    verdict = paths[0].verdict
    false = [remark for judgement in judgements for remark in judgement.false]
    absent = judgements[0].absent
    setattr(result, verdict, getattr(result, verdict) + 1)
    said = f"request {request.number} ({verdict}, path {paths[0].path_id})"
    if verdict != "complete":
        for reason in {*paths[0].reasons, *(m.rsplit(": ", 1)[-1] for m in paths[0].missing)}:
            if not reason.startswith("OK_"):
                result.reasons[reason] = result.reasons.get(reason, 0) + 1
    if false:
        result.wrong += 1
        result.remarks.append(f"{said} is wrong: {'; '.join(false)}")
    elif verdict != "complete":
        open_ = [*paths[0].missing, *paths[0].reasons]
        result.remarks.append(f"{said} is open: {'; '.join(open_)} [{'; '.join(absent)}]")
    elif absent:
        result.short += 1
        result.remarks.append(f"{said} is short: {'; '.join(absent)}")
    else:
        result.correct += 1


def urgency(remark: str) -> int:
    order = (" is wrong: ", " is short: ", ": no path", " is open: ")
    return next((place for place, words in enumerate(order) if words in remark), len(order))


def percentile(values: list[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    index = max(0, -(-len(ordered) * round(share * 100) // 100) - 1)
    return round(ordered[index], 3)
