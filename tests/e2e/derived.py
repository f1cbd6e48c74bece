"""Backfill: a second one changes nothing, and one from raw tables alone gives the same rows."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.parts import binary
from lab.product import ProductSettings
from lab.run import Finished

from . import reading

DERIVED = ("hop", "path", "ambiguous")
NANOSECONDS = 1_000_000_000
BACKFILL_MAX_S = 300


@dataclass(frozen=True)
class Interval:
    """The whole windows in which a run's requests ended, in seconds since the Unix epoch."""

    begin: int
    end: int

    @staticmethod
    def of(finished: Finished, settings: ProductSettings) -> Interval:
        window = settings.window_seconds
        first = finished.driven.start_ns // NANOSECONDS // window
        last = finished.driven.end_ns // NANOSECONDS // window
        return Interval(first * window, (last + 1) * window)

    @property
    def condition(self) -> str:
        return f"win >= {self.begin} AND win < {self.end}"


def backfill(folder: Path, interval: Interval, settings: ProductSettings) -> str:
    """Runs it and returns what it said."""
    command = [
        str(binary("throughline")), "backfill",
        "--tables", str(folder),
        "--from", moment(interval.begin),
        "--to", moment(interval.end),
        "--window", f"{settings.window_seconds}s",
        "--guard", settings.guard,
        "--lateness", settings.lateness,
        "--settle", settings.settle,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=BACKFILL_MAX_S)
    assert done.returncode == 0, f"backfill ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout + done.stderr


def moment(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions(folder: Path) -> dict[str, int]:
    """How many commits each derived table has."""
    return {name: len(list((folder / name / "_delta_log").glob("*.json"))) for name in DERIVED}


def fingerprints(connection, folder: Path, interval: Interval) -> dict[str, tuple[int, int]]:
    return {
        name: reading.fingerprint(connection, folder / name, interval.condition) for name in DERIVED
    }


def second_changes_nothing(connection, finished: Finished, settings: ProductSettings) -> str:
    folder = finished.out / "tables"
    interval = Interval.of(finished, settings)
    # The correlator that ran beside the traffic did the first; this one makes sure of it.
    backfill(folder, interval, settings)
    before = versions(folder), fingerprints(connection, folder, interval)
    said = backfill(folder, interval, settings)
    after = versions(folder), fingerprints(connection, folder, interval)
    assert before == after, f"commits and rows were {before}, are {after}; it said: {said}"
    assert re.search(r"\b0 (rows|windows) changed\b", said), f"it does not say so: {said}"
    assert re.search(r"\b0 commits\b", said), f"it does not say so: {said}"
    return f"{sum(rows for rows, _ in after[1].values())} rows"


def from_raw_tables_is_equal(connection, finished: Finished, settings: ProductSettings) -> str:
    interval = Interval.of(finished, settings)
    live = fingerprints(connection, finished.out / "tables", interval)
    assert all(rows for name, (rows, _) in live.items() if name != "ambiguous"), live
    copy = finished.out / "tables-without-derived"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(finished.out / "tables", copy, ignore=shutil.ignore_patterns(*DERIVED))
    try:
        backfill(copy, interval, settings)
        anew = fingerprints(connection, copy, interval)
    finally:
        shutil.rmtree(copy)
    assert anew == live, f"count and hash of rows were {live}, are {anew}"
    return f"{ {name: rows for name, (rows, _) in anew.items()} }"
