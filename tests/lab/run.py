"""One measured run: cluster, product, shop, traffic, and the wait until the paths are there.

A run's folder holds `tables/` and `spool/` (the product's), `truth.jsonl` (what really happened,
outside the product's reach), `logs/`, and `run.json` (what was done, for the scorer).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import settle
from .cluster import Cluster
from .parts import REPOSITORY
from .product import ProductSettings
from .shop import Driven, deploy

SETTLE_SECONDS_MAX = 120
DRAIN_SECONDS = 3
"""Longer than the exporters' delay and the agents' sweep: what the last request caused is sent."""


@dataclass(frozen=True)
class RunSettings:
    mode: str
    traced: bool
    requests: int = 1000
    rate: float = 20.0
    kill: bool = True
    """Whether the backend of one request is killed while it serves it."""
    until_final: bool = True
    """Whether to wait for final rows, or only for the provisional ones."""

    @property
    def name(self) -> str:
        return f"{self.mode}-{'traced' if self.traced else 'untraced'}"


def runs_directory() -> Path:
    """Where runs go unless somebody says otherwise; the scorer prints them again from here."""
    return REPOSITORY / "target" / "runs"


@dataclass(frozen=True)
class Finished:
    """What a run left behind."""

    name: str
    out: Path
    driven: Driven


def measure(
    settings: RunSettings,
    out: Path,
    progress: Callable[[str], None] = print,
    product: ProductSettings | None = None,
) -> Finished:
    """Does one run in an emptied folder and tears the lab down. Nothing of the product is read
    before it has stopped, apart from the log of the path table."""
    prepare(out)
    with Cluster(settings.mode, out, product, progress) as cluster:
        driven = drive(cluster, settings)
        wait_for_paths(cluster, driven, settings.until_final)
        cluster.product.require_running()
        record(cluster, settings, driven)
        progress("lab: stopping the product and removing the cluster")
    return Finished(settings.name, out, driven)


def prepare(out: Path) -> None:
    """Empties the folder of an earlier run, and refuses one that is something else."""
    if out.exists() and any(out.iterdir()):
        if not (out / "logs").is_dir():
            raise FileExistsError(f"{out} is not empty and not the folder of a run")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def drive(cluster: Cluster, settings: RunSettings) -> Driven:
    """Product first, then shop, then traffic, on a cluster that is up."""
    cluster.progress("lab: starting collector, agents and correlator")
    cluster.product.start()
    kind = "traced" if settings.traced else "untraced"
    cluster.progress(f"lab: starting the shop ({kind})")
    shop = deploy(cluster, settings.traced, cluster.workdir / "truth.jsonl")
    cluster.progress(f"lab: driving {settings.requests} requests, {settings.rate:g} a second")
    driven = shop.drive(settings.requests, settings.rate, settings.kill)
    time.sleep(DRAIN_SECONDS)
    return driven


def wait_for_paths(cluster: Cluster, driven: Driven, until_final: bool) -> None:
    """Waits until the window of the last request is committed."""
    if not cluster.product.settings.correlate:
        return
    stage = "F" if until_final else "P"
    what = "final" if until_final else "provisional"
    cluster.progress(f"lab: waiting for the {what} paths of the last request")
    started = time.monotonic()

    def done() -> bool:
        cluster.product.require_running()
        seconds = cluster.product.settings.window_seconds
        return settle.covers(cluster.product.tables, stage, driven.end_ns, seconds)

    cluster.wait_until(f"{what} paths of the last request", done, SETTLE_SECONDS_MAX)
    cluster.progress(f"lab: they were there after {time.monotonic() - started:.0f} s")


def record(cluster: Cluster, settings: RunSettings, driven: Driven) -> None:
    """Writes run.json, which says what was done."""
    content = {"name": settings.name, **asdict(settings), **asdict(driven)}
    (cluster.workdir / "run.json").write_text(json.dumps(content, indent=2) + "\n")
