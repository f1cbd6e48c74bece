"""Whether what is said with probability p is so in p of the cases: ECE and Brier by method."""

from __future__ import annotations

import duckdb

from .counting import many, ratio

BINS = 20
"""Of equal width. The expected calibration error is the mean over all samples of how far their
bin's mean p is from the share in it that is so."""


def counts(connection: duckdb.DuckDBPyConnection) -> dict:
    """Committed hops by the class of their weakest link, and candidates of ambiguous rows; those
    of the statistical stage count with its hops, for they are its answers too."""
    rows = many(
        connection,
        f"""WITH sample AS (
            SELECT class AS method, confidence AS p, (NOT is_wrong)::INTEGER AS so FROM judged
            UNION ALL
            SELECT CASE WHEN list_contains(evidence, 'statistical') THEN 'statistical'
                ELSE 'candidates' END, p, is_true::INTEGER
            FROM candidate WHERE reason LIKE 'AMBIG_%'
        ), bin AS (
            SELECT method, least(floor(p * {BINS}), {BINS - 1}) AS bin, count(*) AS n,
                sum(p) AS said, sum(so) AS so, sum((p - so) * (p - so)) AS squares
            FROM sample WHERE p IS NOT NULL GROUP BY ALL
        )
        SELECT method, sum(n)::BIGINT AS n, sum(abs(said - so)) AS errors, sum(squares) AS squares
        FROM bin GROUP BY method ORDER BY method""",
    )
    return {
        "calibration": {
            row["method"]: {
                "n": row["n"],
                "ece": ratio(row["errors"], row["n"]),
                "brier": ratio(row["squares"], row["n"]),
            }
            for row in rows
        }
    }
