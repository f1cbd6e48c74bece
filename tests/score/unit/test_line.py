import json
import unittest
from dataclasses import replace

from score import truth
from score.line import count, percentile

from .example import LINES, MS, later, told, true_requests

KEYS = ["run", "requests", "complete", "correct", "wrong", "ambiguous", "partial", "missing",
        "queryable_p50_s", "queryable_p99_s"]  # fmt: skip


class Line(unittest.TestCase):
    def setUp(self):
        self.requests = true_requests()
        self.paths = [told(request) for request in self.requests]

    def check(self, **expected):
        score = count("run-of-test", self.requests, self.paths, {})
        self.assertEqual({key: getattr(score, key) for key in expected}, expected)
        return score

    def test_two_true_paths_are_two_correct_requests(self):
        score = self.check(requests=2, complete=2, correct=2, wrong=0, missing=0, short=0)
        self.assertEqual(list(json.loads(score.line()))[: len(KEYS)], KEYS)

    def test_request_without_a_row_is_missing(self):
        del self.paths[0]
        self.check(complete=1, correct=1, missing=1)

    def test_false_hop_makes_the_request_wrong_and_not_correct(self):
        self.paths[0].hops[2] = replace(self.paths[0].hops[2], destination_pod="cart-0")
        self.check(complete=2, correct=1, wrong=1)

    def test_false_hop_of_a_partial_path_is_wrong_too(self):
        self.paths[0].hops[2] = replace(self.paths[0].hops[2], destination_pod="cart-0")
        self.paths[0].verdict = "partial"
        self.check(complete=1, correct=1, wrong=1, partial=1)

    def test_complete_path_that_lacks_a_hop_is_short_and_not_correct(self):
        del self.paths[0].hops[4]
        self.check(complete=2, correct=1, wrong=0, short=1)

    def test_partial_path_tells_its_reason(self):
        self.paths[0].verdict = "partial"
        self.paths[0].missing = ["server of 10.96.0.8:6379: MISSING_NO_COVERAGE"]
        score = self.check(partial=1, correct=1)
        self.assertEqual(score.reasons, {"MISSING_NO_COVERAGE": 1})

    def test_row_is_found_by_request_id_when_the_client_is_hidden(self):
        path = self.paths[0]
        path.hops[0] = replace(path.hops[0], source=None, nat=None, nat_original=None)
        path.verdict = "partial"
        self.check(partial=1, wrong=0, missing=0)

    def test_request_right_after_another_on_its_connection_has_the_row_that_began_in_it(self):
        first = LINES[0]["end_ns"] - LINES[0]["start_ns"]
        self.requests = truth.requests(LINES + later(LINES, 8, first + MS))
        self.paths = [told(request) for request in self.requests]
        self.check(complete=2, correct=2, wrong=0, missing=0)

    def test_row_about_no_request_is_counted(self):
        stray = told(self.requests[0])
        stray.request_id, stray.path_id = None, "stray"
        stray.hops = [replace(stray.hops[0], source="ext:9", requested="10.89.0.11:30080")]
        self.paths.append(stray)
        self.check(unasked=1, correct=2)

    def test_second_row_with_a_false_hop_makes_its_request_wrong(self):
        fragment = told(self.requests[0], "partial")
        fragment.path_id, fragment.request_id = "fragment", None
        fragment.hops = [replace(fragment.hops[3], destination_pod="store-9", parent=None)]
        self.paths.append(fragment)
        self.check(complete=2, correct=1, wrong=1)

    def test_wait_is_measured_to_the_first_commit_of_the_request(self):
        commits = {"path-7": self.requests[0].end_ns + 3_000_000_000}
        score = count("r", self.requests, self.paths, commits)
        self.assertEqual((score.queryable_p50_s, score.queryable_p99_s), (3.0, 3.0))

    def test_percentile_is_a_value_that_was_measured(self):
        values = [float(n) for n in range(1, 101)]
        self.assertEqual((percentile(values, 0.5), percentile(values, 0.99)), (50.0, 99.0))
        self.assertIsNone(percentile([], 0.5))
