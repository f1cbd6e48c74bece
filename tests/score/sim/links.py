"""Links by segment, and attribution: who the two ends of a hop were."""

from __future__ import annotations

import duckdb

from .counting import many, one, ratio
from .judgement import FIELDS

SEGMENTS = ("edge", "ingress", "service", "attempt")
"""By what the leg truly was; `attempt` are second and later tries, which are counted twice."""


def counts(connection: duckdb.DuckDBPyConnection) -> dict:
    return {"links": segments(connection), "attribution": attribution(connection)}


def segments(connection: duckdb.DuckDBPyConnection) -> dict:
    """Two links a leg: `server`, from the client's end to the pod that served it, and `parent`, to
    the request that caused it."""
    true = many(
        connection,
        """SELECT kind, attempt, count(server_pod) AS server, count(parent_id) AS parent
        FROM leg GROUP BY kind, attempt""",
    )
    told = many(
        connection,
        """SELECT true_kind AS kind, true_attempt AS attempt,
            count(*) FILTER (said_server_pod) AS server,
            count(*) FILTER (server_pod_so) AS server_right,
            count(DISTINCT leg) FILTER (server_pod_so) AS server_found,
            count(parent) AS parent,
            count(*) FILTER (parent_leg = true_parent) AS parent_right,
            count(DISTINCT leg) FILTER (parent_leg = true_parent) AS parent_found
        FROM judged WHERE leg IS NOT NULL GROUP BY true_kind, true_attempt""",
    )
    found = {}
    for name in SEGMENTS:
        of_leg, of_hop = Sums(name, true), Sums(name, told)
        if of_leg["server"] or of_leg["parent"]:
            found[name] = {
                "server_precision": ratio(of_hop["server_right"], of_hop["server"]),
                "server_recall": ratio(of_hop["server_found"], of_leg["server"]),
                "parent_precision": ratio(of_hop["parent_right"], of_hop["parent"]),
                "parent_recall": ratio(of_hop["parent_found"], of_leg["parent"]),
            }
    return found


class Sums:
    """Columns of those rows that lie in a segment, added up."""

    def __init__(self, segment: str, rows: list[dict]):
        if segment == "attempt":
            self.rows = [row for row in rows if row["attempt"] > 1]
        else:
            self.rows = [row for row in rows if row["kind"] == segment]

    def __getitem__(self, column: str) -> int:
        return sum(row[column] for row in self.rows)


def attribution(connection: duckdb.DuckDBPyConnection) -> dict:
    """Of identified hops: how much is asserted of what is known, and how much of that is so.
    Attempts are compared where there was more than one."""
    columns = ", ".join(
        f"""count(*) FILTER (true_{name}) AS {name}_known,
        count(*) FILTER (true_{name} AND said_{name}) AS {name}_asserted,
        count(*) FILTER ({name}_so) AS {name}_so"""
        for name in FIELDS
    )
    row = one(connection, f"SELECT {columns} FROM judged WHERE leg IS NOT NULL")
    found = {
        name: {
            "accuracy": ratio(row[f"{name}_so"], row[f"{name}_asserted"]),
            "asserted": ratio(row[f"{name}_asserted"], row[f"{name}_known"]),
        }
        for name in FIELDS
    }
    attempts = one(
        connection,
        """WITH retried AS (SELECT DISTINCT parent_id, call FROM leg WHERE attempt > 1)
        SELECT count(*) AS asserted, count(*) FILTER (j.attempt = l.attempt) AS so
        FROM retried r
        JOIN leg l ON r.parent_id = l.parent_id AND r.call = l.call
        JOIN judged j ON j.leg = l.id""",
    )
    found["attempts"] = {"accuracy": ratio(attempts["so"], attempts["asserted"])}
    return found
