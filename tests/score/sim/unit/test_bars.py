"""Which figures meet a bar."""

import unittest

from score.sim import bars


def figures(**changed) -> dict:
    known = {
        "requests": 100_000, "wrong_commits": 0, "full_coverage": 1000,
        "full_coverage_correct": 1000, "full_evidence": 900, "full_evidence_correct": 900,
        "full_sight": 1000, "full_sight_correct": 1000,
        "ambiguity": {"sets": 1000, "hits": 1000},
        "calibration": {"statistical": {"n": 500, "ece": 0.01}},
    }  # fmt: skip
    return known | changed


class Bars(unittest.TestCase):
    def check(self, bar: bars.Bar, expected: list[str], *runs: dict) -> None:
        tally = bars.Tally()
        for run in runs:
            tally.add(run)
        remarks = bars.below(bar, tally)
        self.assertEqual(len(remarks), len(expected), remarks)
        for remark, words in zip(remarks, expected, strict=True):
            self.assertIn(words, remark)

    def test_figures_without_a_fault_meet_every_bar(self):
        for bar in (bars.EXACT, bars.IDS, bars.TUPLES, bars.STATISTICAL):
            self.check(bar, [], figures())

    def test_one_wrong_commit_in_a_hundred_thousand_is_allowed_and_two_are_not(self):
        self.check(bars.EXACT, [], figures(wrong_commits=1))
        self.check(bars.EXACT, ["2 wrong commits"], figures(wrong_commits=2))
        self.check(bars.EXACT, [], figures(wrong_commits=2), figures())
        self.check(bars.STATISTICAL, [], figures(wrong_commits=100))
        self.check(bars.STATISTICAL, ["101 wrong"], figures(wrong_commits=101))

    def test_with_ids_every_request_that_was_seen_whole_must_be_told(self):
        short = figures(full_sight_correct=999, full_evidence_correct=899)
        self.check(bars.IDS, ["1 of 900 requests"], short)
        self.check(bars.IDS, [], figures(full_coverage_correct=999))
        self.check(bars.TUPLES, [], short)
        self.check(bars.TUPLES, ["2 of 1000"], figures(full_sight_correct=998))
        self.check(bars.TUPLES, [], figures(full_coverage_correct=998))
        self.check(bars.EXACT, [], figures(full_coverage_correct=0))

    def test_bar_that_nothing_was_measured_for_is_missed(self):
        nothing = figures(full_evidence=0, full_evidence_correct=0)
        self.check(bars.IDS, ["no request was seen whole"], nothing)
        self.check(bars.STATISTICAL, ["no link was statistical"], figures(calibration={}))
        self.check(bars.EXACT, ["no request was simulated"])

    def test_sets_must_hold_the_truth_and_probabilities_must_be_honest(self):
        self.check(bars.STATISTICAL, [], figures(ambiguity={"sets": 1000, "hits": 999}))
        missed = figures(ambiguity={"sets": 1000, "hits": 998})
        self.check(bars.STATISTICAL, ["2 of 1000 ambiguous"], missed)
        vain = figures(calibration={"statistical": {"n": 500, "ece": 0.05}})
        self.check(bars.STATISTICAL, ["calibration error 0.05"], vain)
        self.check(bars.STATISTICAL, ["calibration error 0.03"], vain, figures())
