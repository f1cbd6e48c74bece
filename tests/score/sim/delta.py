"""Which files a Delta table consists of, from its log alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb


@dataclass
class Files:
    current: list[str]
    """Of the newest version."""
    replaced: list[str]
    """Of earlier versions, as far as no vacuum has removed them."""


def files(connection: duckdb.DuckDBPyConnection, table: Path) -> Files:
    log = table / "_delta_log"
    current, seen = set(), set()
    checkpoint = newest_checkpoint(log)
    if checkpoint is not None:
        parts = sorted(map(str, log.glob(f"{checkpoint:020d}.checkpoint*.parquet")))
        rows = connection.execute(
            "SELECT add.path FROM read_parquet(?) WHERE add.path IS NOT NULL", [parts]
        )
        current = {path for (path,) in rows.fetchall()}
    for commit in sorted(log.glob("*.json")):
        if not commit.stem.isdigit():
            continue
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                seen.add(action["add"]["path"])
            if checkpoint is not None and int(commit.stem) <= checkpoint:
                continue
            if "remove" in action:
                current.discard(action["remove"]["path"])
            if "add" in action:
                current.add(action["add"]["path"])
    replaced = (str(table / unquote(path)) for path in seen - current)
    return Files(
        sorted(str(table / unquote(path)) for path in current),
        sorted(path for path in replaced if Path(path).exists()),
    )


def newest_checkpoint(log: Path) -> int | None:
    hint = log / "_last_checkpoint"
    return json.loads(hint.read_text())["version"] if hint.exists() else None


def relation(found: list[str], columns: dict[str, str]) -> str:
    """SQL of these columns of these files; of no rows when there are no files."""
    if not found:
        nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items())
        return f"(SELECT {nothing} WHERE false)"
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in found)
    names = ", ".join(columns)
    return f"(SELECT {names} FROM read_parquet([{listed}], union_by_name = true))"
