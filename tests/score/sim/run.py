"""`make score-sim`: simulates each setting, correlates it, scores it and compares it with its bar.

    python3 -m score.sim.run [--size small|full] [--seed N] [--only NAME ...] [--keep]

prints one JSON line a run and one line a setting that begins with `ok` or `FAILED bar`; the last
line sums up. Exits with 1 when a bar is missed. Runs lie below `target/runs/sim`; of a run that is
removed, its score stays, with its worst hops.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import bars
from .line import COST, score
from .settings import SETTINGS, SMALL, Setting

REPOSITORY = Path(__file__).resolve().parents[3]
BUILDS = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
RUNS = REPOSITORY / "target" / "runs" / "sim"
LATENESS_S = 60
TAIL_S = 150
"""Heartbeats after the traffic: a window is final when its lateness is over."""
EXAMPLES = 5
"""Wrong hops of each fault that are kept to look at."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="score.sim.run", description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--seed", type=int, default=1, help="of the first run of each setting")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="settings, all by default")
    parser.add_argument("--keep", action="store_true", help="keep tables and truth")
    options = parser.parse_args()
    chosen = [s for s in SETTINGS if not options.only or s.name in options.only]
    tallies: dict[bars.Bar, bars.Tally] = {}
    failed = []
    for setting in chosen:
        tally = tallies.setdefault(setting.bar, bars.Tally())
        if not passes(setting, tally, options):
            failed.append(setting.name)
    if options.size == "full" and not options.only:
        failed += [bar.name for bar, tally in tallies.items() if is_too_few(bar, tally)]
    print(summary(chosen, tallies, failed), flush=True)
    return 1 if failed else 0


def passes(setting: Setting, of_bar: bars.Tally, options: argparse.Namespace) -> bool:
    tally = bars.Tally()
    runs, requests = (setting.runs, setting.requests) if options.size == "full" else (1, SMALL)
    for seed in range(options.seed, options.seed + runs):
        figures = one_run(setting, requests, seed, options.keep)
        print(json.dumps(figures, separators=(",", ":")), flush=True)
        tally.add(figures)
        of_bar.add(figures)
    remarks = bars.below(setting.bar, tally)
    verdict = f"FAILED bar: {setting.name}: {'; '.join(remarks)}" if remarks else (
        f"ok {setting.name}: {tally.requests} requests, {tally.wrong} wrong commits"
    )  # fmt: skip
    print(verdict, flush=True)
    return not remarks


def is_too_few(bar: bars.Bar, tally: bars.Tally) -> bool:
    if tally.requests < bar.requests_min:
        print(f"FAILED bar: {bar.name}: {tally.requests} requests, asked for {bar.requests_min}")
        return True
    return False


def summary(chosen, tallies: dict[bars.Bar, bars.Tally], failed: list[str]) -> str:
    return json.dumps(
        {
            "settings": len(chosen),
            "failed": failed,
            "bars": {bar.name: asdict(tally) for bar, tally in tallies.items()},
        },
        separators=(",", ":"),
    )


def one_run(setting: Setting, requests: int, seed: int, keep: bool) -> dict:
    out = RUNS / f"{setting.name}-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    simulate(setting, requests, seed, out)
    correlate(setting, out)
    result = score(out, explain=EXAMPLES)
    figures = {"setting": setting.name, "seed": seed, **result.figures}
    (out / "score.json").write_text(json.dumps(figures) + "\n")
    if result.samples:
        lines = (json.dumps(sample, default=str) + "\n" for sample in result.samples)
        (out / "wrong.jsonl").write_text("".join(lines))
    if not keep:
        shutil.rmtree(out / "tables")
        shutil.rmtree(out / "truth")
    return figures


def simulate(setting: Setting, requests: int, seed: int, out: Path) -> None:
    command = [
        binary("throughline-sim"), "write", "--out", str(out), "--seed", str(seed),
        "--rate", str(setting.rate), "--compress", str(setting.compress),
        "--seconds", str(requests / setting.rate / setting.compress),
        "--lateness", f"{LATENESS_S}s", "--tail", f"{TAIL_S}s", *setting.dials.split(),
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def correlate(setting: Setting, out: Path) -> None:
    """Runs the correlator over all of it, and leaves what the operating system says that it used
    beside the tables."""
    run = json.loads((out / "truth" / "run.json").read_text())
    # A request belongs to the window in which it ends, and clocks may be ahead or behind.
    start = datetime.fromtimestamp(run["start_ns"] / 1e9, UTC) - timedelta(seconds=60)
    end = datetime.fromtimestamp(run["end_ns"] / 1e9, UTC) + timedelta(seconds=TAIL_S - LATENESS_S)
    command = [
        binary("throughline"), "backfill", "--tables", str(out / "tables"),
        "--from", f"{start:%Y-%m-%dT%H:%M:%SZ}", "--to", f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "--lateness", f"{LATENESS_S}s", *setting.correlator.split(),
    ]  # fmt: skip
    with (out / "correlator.log").open("w") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"the correlator failed:\n{(out / 'correlator.log').read_text()}")
    cost = {
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "peak_rss_mib": used.ru_maxrss // 1024,
    }
    (out / COST).write_text(json.dumps(cost) + "\n")


def binary(name: str) -> str:
    """Of the builds that are there, the newest."""
    built = [BUILDS / profile / name for profile in ("release", "debug")]
    found = [path for path in built if path.exists()]
    if not found:
        sys.exit(f"{name} is not built; `make score-sim` builds it")
    return str(max(found, key=lambda path: path.stat().st_mtime))


if __name__ == "__main__":
    sys.exit(main())
