"""What is said to be missing: precision and recall by reason.

Compared are pairs of request and reason: that something of this request was not seen, and why.
"""

from __future__ import annotations

import duckdb

from .counting import many, ratio


def counts(connection: duckdb.DuckDBPyConnection) -> dict:
    rows = many(
        connection,
        """WITH said AS (
            SELECT t.request, string_split(m.segment, ': ')[-1] AS reason
            FROM (SELECT path, unnest(missing || reasons) AS segment FROM path) m
            JOIN told_path t USING (path)
            UNION
            SELECT request, reason FROM doubt
        ), was AS (
            SELECT DISTINCT request, missing AS reason FROM leg WHERE missing IS NOT NULL
            UNION ALL
            SELECT request, 'MISSING_SAMPLED_OUT' FROM request WHERE is_sampled_out
        ), pair AS (
            SELECT reason, said.request IS NOT NULL AS is_said, was.request IS NOT NULL AS is_so
            FROM (SELECT * FROM said WHERE reason LIKE 'MISSING_%' AND request IS NOT NULL) said
            FULL JOIN was USING (request, reason)
        )
        SELECT reason, count(*) FILTER (is_said) AS said, count(*) FILTER (is_so) AS so,
            count(*) FILTER (is_said AND is_so) AS both
        FROM pair GROUP BY reason ORDER BY reason""",
    )
    return {
        "missing": {
            row["reason"]: {
                "said": row["said"],
                "so": row["so"],
                "precision": ratio(row["both"], row["said"]),
                "recall": ratio(row["both"], row["so"]),
            }
            for row in rows
        }
    }
