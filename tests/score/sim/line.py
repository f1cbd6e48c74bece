"""The scorer's line: everything that is measured of one run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from . import (
    absence,
    ambiguity,
    asserted,
    calibration,
    judgement,
    links,
    paths,
    samples,
    stability,
    truth,
)

MEMORY_MAX = "4GB"
"""Joins of more spill to disk: a million requests of six legs need about 3 GB."""

COST = "correlator.json"
"""Left beside the tables by whoever ran the correlator: what the operating system says it used."""


@dataclass
class Score:
    figures: dict
    samples: list[dict] = field(default_factory=list)
    """Wrong hops, as far as asked for. Not part of the line."""

    def line(self) -> str:
        return json.dumps(self.figures, separators=(",", ":"))


def score(out: Path, threads: int = 1, explain: int = 0) -> Score:
    """Scores one run from its folder, and keeps the line there."""
    with connect(out, threads) as connection:
        load(connection, out)
        figures = {
            "run": out.name,
            **paths.counts(connection),
            **paths.wrong_commits(connection),
            **links.counts(connection),
            **ambiguity.counts(connection),
            **absence.counts(connection),
            **calibration.counts(connection),
            **stability.counts(connection, out / "tables"),
        }
        examples = samples.wrong(connection, out, explain) if explain else []
    result = Score(figures | cost(out, figures["requests"]), examples)
    (out / "score.json").write_text(result.line() + "\n")
    return result


def connect(out: Path, threads: int) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": MEMORY_MAX,
            "temp_directory": str(out / "spilled"),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )


def load(connection: duckdb.DuckDBPyConnection, out: Path) -> None:
    truth.load(connection, out / "truth")
    asserted.load(connection, out / "tables")
    judgement.load(connection)
    paths.load(connection)
    ambiguity.load(connection)


def cost(out: Path, requests: int) -> dict:
    known = out / COST
    if not known.exists():
        return {}
    used = json.loads(known.read_text())
    return {"cpu_ms_per_1000": round(used["cpu_s"] * 1e6 / max(requests, 1), 3), **used}
