"""Sets of candidates: whether they hold the truth, how large they are, and whether the doubt was
needed."""

from __future__ import annotations

import duckdb

from .counting import one, ratio

AT_SERVER = "(segment LIKE 'caller of %' OR segment LIKE 'log line of %')"
"""Rows of these segments are about a server's exchange; all others about a client's."""


WHOLE = 0.999
"""Candidates that weigh less together were cut: the row says itself that the truth may be another.
A bar counts such a set like any other."""

NEAREST_END = "min_by(l.id, abs(u.end_ns - l.end_ns))"
"""Of exchanges that began in the same nanosecond, the one that ended as told."""


def load(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables `doubt`, one row of `ambiguous` with the leg that it is about, and `candidate`."""
    connection.execute(
        f"""CREATE TABLE doubt AS
        WITH about AS (
            SELECT u.row, {NEAREST_END} AS leg
            FROM undecided u JOIN stamped_at_client l ON l.start_ns = u.start_ns
            WHERE NOT {AT_SERVER} GROUP BY u.row
            UNION ALL
            SELECT u.row, {NEAREST_END} AS leg
            FROM undecided u JOIN stamped_at_server l ON l.start_ns = u.start_ns
            WHERE {AT_SERVER} GROUP BY u.row
        )
        SELECT u.*, a.leg, coalesce(l.request, p.request) AS request,
            segment[:strpos(segment, ' ') - 1] AS link,
            CASE
                WHEN segment LIKE 'relay in %' THEN up.peer
                WHEN segment LIKE 'server of %' THEN l.server_end
                -- A line without an id is a candidate of that name, and may be the true one.
                WHEN segment LIKE 'log line of %' THEN coalesce(r.request_id, 'unknown')
            END AS answer,
            CASE
                WHEN segment LIKE 'relay in %' THEN l.ids_seen
                WHEN segment LIKE 'server of %' THEN l.both_seen
                ELSE false
            END AS decidable
        FROM undecided u
        LEFT JOIN about a USING (row)
        LEFT JOIN leg l ON l.id = a.leg
        LEFT JOIN leg up ON up.id = l.parent_id
        LEFT JOIN request r ON r.request = l.request
        LEFT JOIN (
            SELECT path.path_id, any_value(t.request) AS request
            FROM told_path t JOIN path USING (path) GROUP BY path.path_id
        ) p ON p.path_id = u.path_id;

        -- One call that several paths may own has a row in each, with the same candidates.
        CREATE TABLE candidate AS
        WITH listed AS (
            SELECT row, leg, request, link, reason, answer, unnest(candidates) AS c FROM doubt
            QUALIFY leg IS NULL OR row_number() OVER (PARTITION BY leg, segment ORDER BY row) = 1
        )
        SELECT l.* EXCLUDE (c), c.p AS p, c.evidence AS evidence,
            coalesce(list_contains(string_split_regex(c.what, '[ ()]+'), l.answer), false)
                OR coalesce(of.request = l.request, false) AS is_true
        FROM listed l
        LEFT JOIN (
            SELECT path.path_id, t.request FROM told_path t JOIN path USING (path)
        ) of ON of.path_id = l.c.path_id"""
    )


def counts(connection: duckdb.DuckDBPyConnection) -> dict:
    """A row whose reason is that something is missing does not claim that the truth is among its
    candidates, so its hits are counted apart."""
    sets = one(
        connection,
        f"""SELECT count(*) FILTER (claims) AS sets,
            count(*) FILTER (claims AND hit) AS hits,
            avg(size) FILTER (claims) AS mean_size,
            count(*) FILTER (claims AND weight < {WHOLE}) AS cut,
            count(*) FILTER (claims AND weight < {WHOLE} AND hit) AS cut_hits,
            count(*) FILTER (NOT claims) AS doubted,
            count(*) FILTER (NOT claims AND hit) AS doubted_hits
        FROM (
            SELECT row, reason LIKE 'AMBIG_%' AS claims, bool_or(is_true) AS hit,
                count(*) AS size, sum(p) AS weight
            FROM candidate GROUP BY row, reason
        )""",
    )
    needless = one(
        connection,
        """SELECT count(DISTINCT leg) FILTER (len(candidates) > 0) AS legs,
            count(DISTINCT leg) FILTER (len(candidates) > 0 AND decidable) AS decidable,
            count(*) AS rows, count(*) FILTER (leg IS NULL) AS unidentified
        FROM doubt""",
    )
    reasons = connection.execute("SELECT reason, count(*) FROM doubt GROUP BY 1 ORDER BY 1")
    return {
        "ambiguity": {
            "rows": needless["rows"],
            "unidentified": needless["unidentified"],
            "sets": sets["sets"],
            "hits": sets["hits"],
            "hit_rate": ratio(sets["hits"], sets["sets"]),
            "mean_size": ratio(sets["mean_size"], 1),
            "cut": sets["cut"],
            "cut_hits": sets["cut_hits"],
            "doubted": sets["doubted"],
            "doubted_hit_rate": ratio(sets["doubted_hits"], sets["doubted"]),
            "unnecessary": ratio(needless["decidable"], needless["legs"]),
            "reasons": dict(reasons.fetchall()),
        }
    }
