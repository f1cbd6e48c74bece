"""Whole paths: how many requests are told wholly and truly, and how many hops are wrong commits."""

from __future__ import annotations

import duckdb

from .asserted import CLASSES
from .counting import many, one, ratio
from .judgement import FAULTS


def load(connection: duckdb.DuckDBPyConnection) -> None:
    """Table `told_path`: one row a path, with the request that it is about. A path is whole when
    nothing in it is wrong and nothing of its request is left out: every leg, the pods at both ends
    of each, and which attempt it was."""
    connection.execute(
        """CREATE TABLE told_path AS
        SELECT path, any_value(path_request) AS request, any_value(verdict) AS verdict,
            count(DISTINCT leg) AS legs,
            count(*) FILTER (is_wrong) AS wrong,
            count(*) FILTER (true_client_pod AND NOT said_client_pod
                OR true_server_pod AND NOT said_server_pod OR attempt <> true_attempt) AS open
        FROM judged GROUP BY path;

        CREATE TABLE true_request AS
        SELECT r.*, l.legs FROM request r
        JOIN (SELECT request, count(*) AS legs FROM leg GROUP BY request) l USING (request);

        CREATE TABLE told_request AS
        SELECT t.request, t.full_coverage, t.full_evidence, t.full_sight, count(p.path) AS paths,
            coalesce(sum(p.wrong), 0) AS wrong,
            coalesce(bool_or(p.verdict = 'complete'), false) AS complete,
            coalesce(bool_or(p.wrong = 0 AND p.open = 0 AND p.legs = t.legs), false) AS whole,
            coalesce(bool_or(p.verdict = 'complete' AND p.wrong = 0 AND p.open = 0
                AND p.legs = t.legs), false) AS correct
        FROM true_request t LEFT JOIN told_path p USING (request)
        GROUP BY t.request, t.full_coverage, t.full_evidence, t.full_sight"""
    )


def counts(connection: duckdb.DuckDBPyConnection) -> dict:
    requests = one(
        connection,
        """SELECT count(*) AS requests,
            count(*) FILTER (paths > 0) AS told,
            count(*) FILTER (complete) AS complete,
            count(*) FILTER (whole) AS whole,
            count(*) FILTER (correct) AS correct,
            count(*) FILTER (full_coverage) AS full_coverage,
            count(*) FILTER (full_coverage AND correct) AS full_coverage_correct,
            count(*) FILTER (full_evidence) AS full_evidence,
            count(*) FILTER (full_evidence AND correct) AS full_evidence_correct,
            count(*) FILTER (full_sight) AS full_sight,
            count(*) FILTER (full_sight AND correct) AS full_sight_correct
        FROM told_request""",
    )
    paths = one(
        connection,
        """SELECT count(*) AS paths,
            count(*) FILTER (verdict = 'complete') AS complete_paths,
            count(*) FILTER (verdict = 'partial') AS partial_paths,
            count(*) FILTER (verdict = 'ambiguous') AS ambiguous_paths,
            count(*) FILTER (verdict = 'complete' AND wrong > 0) AS complete_wrong,
            count(*) FILTER (verdict = 'complete' AND wrong = 0
                AND (open > 0 OR p.legs < t.legs)) AS complete_short
        FROM told_path p LEFT JOIN true_request t USING (request)""",
    )
    total = requests["requests"]
    return {
        **requests,
        **paths,
        "path_accuracy": ratio(requests["whole"], total),
        "coverage": ratio(requests["correct"], total),
        "full_coverage_rate": ratio(requests["full_coverage_correct"], requests["full_coverage"]),
        "full_evidence_rate": ratio(requests["full_evidence_correct"], requests["full_evidence"]),
        "full_sight_rate": ratio(requests["full_sight_correct"], requests["full_sight"]),
    }


def wrong_commits(connection: duckdb.DuckDBPyConnection) -> dict:
    """Wrong hops over all requests, as the design defines the rate, and by evidence class."""
    faults = ", ".join(f"count(*) FILTER ({name}) AS {name}" for name in FAULTS)
    total = one(
        connection,
        f"""SELECT (SELECT count(*) FROM request) AS requests, (SELECT count(*) FROM leg) AS legs,
            count(*) AS hops, count(*) FILTER (is_wrong) AS wrong, {faults} FROM judged""",
    )
    classes = many(
        connection,
        """SELECT class, count(*) AS hops, count(*) FILTER (is_wrong) AS wrong
        FROM judged GROUP BY class""",
    )
    by_class = {row["class"]: row for row in classes}
    return {
        "legs": total["legs"],
        "hops": total["hops"],
        "wrong_commits": total["wrong"],
        "wrong_commit_rate": ratio(total["wrong"], total["requests"]),
        "wrong_by_fault": {name: total[name] for name in FAULTS if total[name]},
        "wrong_by_class": {
            name: {
                "hops": by_class[name]["hops"],
                "wrong": by_class[name]["wrong"],
                "rate": ratio(by_class[name]["wrong"], by_class[name]["hops"]),
            }
            for name in reversed([*CLASSES, "one_end"])
            if name in by_class
        },
    }
