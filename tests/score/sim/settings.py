"""What is simulated, and the bar that each setting must meet."""

from __future__ import annotations

from dataclasses import dataclass

from .bars import EXACT, IDS, STATISTICAL, TUPLES, Bar


@dataclass(frozen=True)
class Setting:
    name: str
    bar: Bar
    requests: int
    """At full size, in each run."""
    rate: int
    """Requests a second."""
    dials: str
    """Flags of the simulator; its own help says what they mean."""
    correlator: str = ""
    """Flags of the correlator, where a deployment would have to set them."""
    compress: int = 1
    """Gaps between requests are divided by this, so that so many more come in a second."""
    runs: int = 1
    """With as many seeds, one after the other, so that no run needs more than some GB of disk."""


SMALL = 2_000
"""Requests of a run at small size."""

NOISE = (
    "--loss-agents 0.02 --loss-spans 0.02 --loss-logs 0.02 --duplicates 0.01"
    " --late 0.05 --delay 30s --reorder 0.1 --skew 500ms"
)
"""What the bars on exact evidence ask for: 2 % lost, 1 % twice, some late, clocks 500 ms off."""

SKEWED = "--skew 1s"
"""Two clocks that are each within 500 ms of the truth are within 1 s of each other."""

SHOP = "--shape shop --failing 0.01 --refused 0.01 --errors 0.02"
LAYERS = "--shape layers --depth 4 --fan-out 2"

SETTINGS = (
    Setting("exact-shop", IDS, 150_000, 200, f"{SHOP} {NOISE}", SKEWED, runs=4),
    Setting("exact-layers", IDS, 100_000, 500, f"{LAYERS} {NOISE}", SKEWED, runs=2),
    Setting("exact-peak", IDS, 120_000, 12_000, f"--shape peak {NOISE}", SKEWED, runs=2),
    Setting("tuples-shop", TUPLES, 50_000, 100, f"{SHOP} {NOISE} --ids-stripped 1", SKEWED),
    Setting("tuples-layers", TUPLES, 20_000, 100, f"{LAYERS} {NOISE} --ids-stripped 1", SKEWED),
    Setting(
        "statistical-layers", STATISTICAL, 50_000, 200,
        f"{LAYERS} --threads mixed --ids-stripped 0.5 --loss-agents 0.01 --skew 20ms",
    ),
    Setting(
        "statistical-shop", STATISTICAL, 50_000, 100,
        f"{SHOP} --threads free --ids-stripped 0.7 --nodes 8 --exchanges-off 0.25 --skew 20ms",
    ),
    Setting("drift", EXACT, 20_000, 100, f"{SHOP} --drift 50 --skew 100ms", SKEWED),
    Setting("clock-step", EXACT, 20_000, 100, f"{SHOP} --clock-steps 2 --step 400ms", SKEWED),
    Setting("churn", EXACT, 20_000, 100, f"{SHOP} --churn 30"),
    Setting("nat-port-reuse", EXACT, 20_000, 100, f"{SHOP} --nat-ports 64 --protocol close"),
    Setting("agent-down", EXACT, 20_000, 100, f"{SHOP} --agents-down 1 --down 20s"),
    Setting("agents-off", EXACT, 20_000, 100, f"{SHOP} --agents-off 0.3 --nodes 6"),
    Setting("sampling", EXACT, 20_000, 100, f"{SHOP} --sampling 0.01"),
    Setting(
        "ids-reused", EXACT, 20_000, 100,
        f"{SHOP} --request-ids-reused 0.1 --trace-ids-reused 0.05",
    ),
    Setting("compressed", EXACT, 20_000, 100, SHOP, compress=10),
    Setting("streams", EXACT, 20_000, 100, f"{SHOP} --protocol http2 --stream-ids 0.5"),
    Setting("too-late", EXACT, 20_000, 100, f"{SHOP} --late 0.1 --delay 5m"),
    Setting(
        "lossy", EXACT, 20_000, 100,
        f"{SHOP} --loss-agents 0.2 --loss-spans 0.2 --loss-logs 0.2",
    ),
)  # fmt: skip
