"""How far the correlator is: read from the transaction log of the path table, whose format is
public, without the product's help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

NANOSECONDS = 1_000_000_000


def reached_window(tables: Path, stage: str) -> int | None:
    """The index of the newest window committed in a stage (`P` or `F`); path is the table that
    makes a window visible, because it is committed last."""
    versions = [
        action["txn"]["version"]
        for action in actions(tables / "path")
        if action.get("txn", {}).get("appId", "").endswith(f"/{stage}")
    ]
    return max(versions, default=None)


def covers(tables: Path, stage: str, moment_ns: int, window_seconds: int) -> bool:
    """Whether the window of a moment, and so all before it, is committed in a stage."""
    reached = reached_window(tables, stage)
    return reached is not None and reached >= moment_ns // (window_seconds * NANOSECONDS)


def actions(table: Path) -> Iterator[dict]:
    for entry in sorted((table / "_delta_log").glob("*.json")):
        for line in entry.read_text().splitlines():
            yield json.loads(line)
