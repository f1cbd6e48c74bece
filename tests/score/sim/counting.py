"""Small things that all counts need."""

from __future__ import annotations

import duckdb


def one(connection: duckdb.DuckDBPyConnection, query: str) -> dict:
    """The only row of a query, by column."""
    return many(connection, query)[0]


def many(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict]:
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def ratio(part: float | None, whole: float | None) -> float | None:
    """None where there was nothing to be right or wrong about. Seven significant digits tell one in
    a million apart from none."""
    return float(f"{part / whole:.7g}") if whole and part is not None else None
