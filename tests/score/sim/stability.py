"""How much of what was provisional is otherwise in the end."""

from __future__ import annotations

from pathlib import Path

import duckdb

from . import delta
from .counting import one, ratio

COLUMNS = {
    "win": "BIGINT",
    "path_id": "VARCHAR",
    "finality": "VARCHAR",
    "revision": "INTEGER",
    "verdict": "VARCHAR",
    "hops": """STRUCT(position INTEGER, parent INTEGER, source_pod VARCHAR, destination_pod VARCHAR,
        service VARCHAR)[]""",
}


def counts(connection: duckdb.DuckDBPyConnection, tables: Path) -> dict:
    """Of windows that are final and were provisional; nothing where there is none. Of a path that
    was revised, the first provisional version counts."""
    found = delta.files(connection, tables / "path")
    rows = delta.relation(found.current + found.replaced, COLUMNS)
    compared = one(
        connection,
        f"""WITH version AS (
            SELECT win, path_id, finality, revision, verdict, list_transform(hops, h -> {{
                'position': h.position, 'parent': h.parent, 'source': h.source_pod,
                'destination': h.destination_pod, 'service': h.service
            }}) AS line FROM {rows}
        ), first AS (
            SELECT * FROM version WHERE finality = 'provisional'
                AND win IN (SELECT win FROM version WHERE finality = 'final')
            QUALIFY row_number() OVER (PARTITION BY path_id ORDER BY revision) = 1
        )
        SELECT count(*) AS provisional,
            count(*) FILTER (final.path_id IS NOT NULL
                AND (final.verdict, final.line) IS DISTINCT FROM (first.verdict, first.line)
            ) AS changed,
            count(*) FILTER (final.path_id IS NULL) AS gone
        FROM first LEFT JOIN (SELECT * FROM version WHERE finality = 'final') final
            USING (path_id)""",
    )
    if not compared["provisional"]:
        return {}
    return {
        "stability": {
            "provisional": compared["provisional"],
            "changed": ratio(compared["changed"], compared["provisional"]),
            "gone": ratio(compared["gone"], compared["provisional"]),
        }
    }
