"""Wrong hops to look at: the product's row beside the leg that it is about."""

from __future__ import annotations

from pathlib import Path

import duckdb

from . import delta
from .asserted import HOP
from .counting import many
from .judgement import FAULTS


def wrong(connection: duckdb.DuckDBPyConnection, out: Path, count: int) -> list[dict]:
    """The first so many of each fault, in the order of path ids."""
    faults = " ".join(f"WHEN {name} THEN '{name}'" for name in FAULTS)
    rows = delta.relation(delta.files(connection, out / "tables" / "hop").current, HOP)
    return many(
        connection,
        f"""WITH chosen AS (
            SELECT CASE {faults} END AS fault, j.*, p.path_id, p.win
            FROM judged j JOIN path p USING (path) WHERE j.is_wrong
            QUALIFY row_number() OVER (PARTITION BY fault ORDER BY p.path_id, j.position)
                <= {int(count)}
        )
        SELECT c.fault, c.path_id, c.class, c.path_request, h AS hop, l AS leg,
            {{'request': up.request, 'leg': up.leg}} AS told_parent
        FROM chosen c
        JOIN {rows} h ON h.path_id = c.path_id AND h.position = c.position AND h.win = c.win
        LEFT JOIN leg i ON i.id = c.leg
        LEFT JOIN read_parquet('{out / "truth" / "legs.parquet"}') l
            ON l.request = i.request AND l.leg = i.leg
        LEFT JOIN leg up ON up.id = c.parent_leg
        ORDER BY c.fault, c.path_id, c.position""",
    )
