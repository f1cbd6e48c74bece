"""The bars, and whether figures meet them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    name: str
    wrong_max: float
    """Wrong commits over all requests, of any evidence class."""
    whole: str = "full_coverage"
    """Which requests `whole_min` is about: those of which everything was seen, their spans too
    (`full_evidence`), or all that their pods did meanwhile (`full_sight`); see `truth.py`."""
    whole_min: float = 0.0
    """Part of these that is told completely and truly."""
    hit_rate_min: float = 0.0
    """Ambiguous sets that hold the truth."""
    ece_max: float | None = None
    """Calibration error of statistical links; there must be some."""
    requests_min: int = 0
    """How many requests all settings of this bar must have simulated at full size."""


EXACT = Bar("exact", wrong_max=1e-5)
IDS = Bar(
    "ids present", wrong_max=1e-5, whole="full_evidence", whole_min=1.0, requests_min=1_000_000
)
TUPLES = Bar("ids stripped", wrong_max=1e-5, whole="full_sight", whole_min=0.999)
STATISTICAL = Bar("statistical", wrong_max=1e-3, hit_rate_min=0.999, ece_max=0.02)


@dataclass
class Tally:
    """Counts of several runs together, as far as a bar asks for them."""

    requests: int = 0
    wrong: int = 0
    full_coverage: int = 0
    full_coverage_correct: int = 0
    full_evidence: int = 0
    full_evidence_correct: int = 0
    full_sight: int = 0
    full_sight_correct: int = 0
    sets: int = 0
    hits: int = 0
    samples: int = 0
    """Answers of the statistical stage."""
    calibration_error: float = 0.0
    """Sum over these samples; of several runs, at least that of all their samples at once."""

    def add(self, figures: dict) -> None:
        self.requests += figures["requests"]
        self.wrong += figures["wrong_commits"]
        for whole in ("full_coverage", "full_evidence", "full_sight"):
            for name in (whole, f"{whole}_correct"):
                setattr(self, name, getattr(self, name) + figures[name])
        self.sets += figures["ambiguity"]["sets"]
        self.hits += figures["ambiguity"]["hits"]
        statistical = figures["calibration"].get("statistical")
        if statistical:
            self.samples += statistical["n"]
            self.calibration_error += statistical["n"] * statistical["ece"]


def below(bar: Bar, tally: Tally) -> list[str]:
    """What the tally misses of the bar, a remark each."""
    remarks = []
    if tally.requests == 0:
        return ["no request was simulated"]
    if tally.wrong > bar.wrong_max * tally.requests:
        rate = tally.wrong / tally.requests
        remarks.append(
            f"{tally.wrong} wrong commits in {tally.requests} requests"
            f" ({rate:.2g}, bar {bar.wrong_max:g})"
        )
    seen, told = getattr(tally, bar.whole), getattr(tally, f"{bar.whole}_correct")
    if bar.whole_min and not seen:
        remarks.append("no request was seen whole")
    elif told < bar.whole_min * seen:
        remarks.append(
            f"{seen - told} of {seen} requests that were seen whole are not told"
            f" completely and truly (bar {bar.whole_min:.1%})"
        )
    if tally.hits < bar.hit_rate_min * tally.sets:
        remarks.append(
            f"{tally.sets - tally.hits} of {tally.sets} ambiguous sets lack the truth"
            f" (bar {bar.hit_rate_min:.1%})"
        )
    if bar.ece_max is not None:
        remarks += uncalibrated(bar.ece_max, tally)
    return remarks


def uncalibrated(ece_max: float, tally: Tally) -> list[str]:
    if not tally.samples:
        return ["no link was statistical"]
    ece = tally.calibration_error / tally.samples
    if ece > ece_max:
        return [f"calibration error {ece:.3g} of {tally.samples} statistical links (bar {ece_max})"]
    return []
