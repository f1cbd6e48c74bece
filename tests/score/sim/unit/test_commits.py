"""What makes a hop a wrong commit, and what does not: truth and rows by hand."""

import tempfile
import unittest
from pathlib import Path

from score.sim.line import score

from . import example


def scored(run: example.Run) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        example.write(out, run)
        return score(out).figures


def two_requests() -> example.Run:
    return example.told([*example.request(0), *example.request(1, "frontend-2", "cart-1")])


class Commits(unittest.TestCase):
    def check(self, run: example.Run, faults: dict[str, int], wrong: int | None = None) -> dict:
        figures = scored(run)
        self.assertEqual(figures["wrong_by_fault"], faults)
        self.assertEqual(figures["wrong_commits"], sum(faults.values()) if wrong is None else wrong)
        return figures

    def test_product_that_knows_everything_is_right_everywhere(self):
        figures = self.check(two_requests(), {})
        self.assertEqual(figures["requests"], 2)
        self.assertEqual(figures["legs"], 8)
        self.assertEqual(figures["hops"], 8)
        self.assertEqual(figures["wrong_commit_rate"], 0)
        for name in ("path_accuracy", "coverage", "full_coverage_rate"):
            self.assertEqual(figures[name], 1, name)
        for field in figures["attribution"].values():
            self.assertEqual(field["accuracy"], 1)
        for segment in figures["links"].values():
            for name in ("server_precision", "server_recall"):
                self.assertEqual(segment[name], 1)

    def test_product_that_tells_nothing_is_never_wrong(self):
        run = two_requests()
        run.hops, run.paths = [], []
        figures = self.check(run, {})
        self.assertEqual((figures["coverage"], figures["told"]), (0, 0))
        self.assertIsNone(figures["links"]["service"]["server_precision"])
        self.assertEqual(figures["links"]["service"]["server_recall"], 0)

    def test_wrong_server_pod_is_one_wrong_hop_of_its_class(self):
        run = two_requests()
        run.hop(0, 3)["destination_pod_uid"] = "cart-1"
        figures = self.check(run, {"wrong_server_pod": 1})
        self.assertEqual(figures["wrong_commit_rate"], 0.5)
        self.assertEqual(figures["wrong_by_class"]["ids"], {"hops": 2, "wrong": 1, "rate": 0.5})
        self.assertEqual(figures["wrong_by_class"]["proxy"]["wrong"], 0)
        self.assertEqual((figures["coverage"], figures["complete_wrong"]), (0.5, 1))
        self.assertEqual(figures["links"]["service"]["server_precision"], 0.5)
        self.assertEqual(figures["links"]["ingress"]["server_precision"], 1)
        self.assertEqual(figures["attribution"]["server_pod"]["accuracy"], 0.875)

    def test_pod_of_a_client_outside_is_wrong(self):
        run = two_requests()
        run.hop(1, 0)["source_pod_uid"] = "cart-0"
        self.check(run, {"wrong_client_pod": 1})

    def test_unknown_pod_is_not_wrong_but_the_path_is_short(self):
        run = two_requests()
        run.hop(0, 3)["destination_pod_uid"] = None
        figures = self.check(run, {})
        self.assertEqual((figures["coverage"], figures["complete_short"]), (0.5, 1))
        self.assertEqual(figures["links"]["service"]["server_recall"], 0.5)

    def test_wrong_parent_in_the_same_request_is_one_wrong_hop(self):
        run = two_requests()
        run.hop(0, 3)["parent"] = 1
        figures = self.check(run, {"wrong_parent": 1})
        self.assertEqual(figures["links"]["service"]["parent_precision"], 0.5)

    def test_hop_in_the_path_of_another_request_is_one_wrong_hop(self):
        run = two_requests()
        moved = run.hop(1, 3)
        run.without(0, 3)
        moved["path_id"] = "p0"
        figures = self.check(run, {"wrong_membership": 1, "wrong_parent": 1}, wrong=1)
        self.assertEqual(figures["complete_short"], 1)

    def test_hop_that_never_was_and_what_it_is_said_to_have_caused_are_wrong(self):
        run = two_requests()
        run.hop(0, 2)["start_ns"] += 1
        self.check(run, {"never_was": 1, "wrong_parent": 1})

    def test_leg_that_is_told_twice_is_wrong_once(self):
        run = two_requests()
        again = dict(run.hop(0, 3), position=4)
        run.hops.append(again)
        self.check(run, {"told_twice": 1})

    def test_two_ends_of_a_leg_told_apart_are_not_told_twice(self):
        run = two_requests()
        run.hop(0, 3).update(
            evidence=["client_exchange"], destination_pod_uid=None, destination_ip=None,
            destination_port=None, nat_original=None, nat_reply=None,
        )  # fmt: skip
        row = run.legs[3]
        apart = dict(
            run.hop(1, 3), path_id="q", position=0, parent=None, evidence=["server_exchange"],
            source_pod_uid=None, source_ip=None, source_port=None, requested_ip=None,
            requested_port=None, nat_original=None, nat_reply=None, destination_pod_uid="cart-0",
            destination_ip=row["server_ip"], start_ns=row["server_start_ns"],
            end_ns=row["server_end_ns"], service=None,
        )  # fmt: skip
        run.hops.append(apart)
        run.paths.append({**run.path(0), "path_id": "q", "verdict": "partial"})
        self.check(run, {})

    def test_path_that_begins_in_the_middle_is_wrong_only_when_it_is_said_to_be_complete(self):
        run = two_requests()
        run.hops = [h for h in run.hops if (h["path_id"], h["position"]) not in
                    {("p0", 0), ("p0", 1), ("p0", 2)}]  # fmt: skip
        run.hop(0, 3).update(position=0, parent=None)
        run.path(0)["verdict"] = "partial"
        self.check(run, {})
        run.path(0)["verdict"] = "complete"
        self.check(run, {"false_root": 1})

    def test_missing_leg_makes_the_path_short_and_is_no_wrong_commit(self):
        run = two_requests()
        run.without(0, 3)
        figures = self.check(run, {})
        self.assertEqual((figures["complete"], figures["correct"]), (2, 1))
        self.assertEqual((figures["complete_short"], figures["full_coverage_rate"]), (1, 0.5))
        self.assertEqual(figures["links"]["service"]["parent_recall"], 0.5)
        self.assertEqual(figures["links"]["service"]["parent_precision"], 1)

    def test_service_and_addresses_are_compared(self):
        for column, value, fault in (
            ("service", "price", "wrong_service"),
            ("source_port", 1, "never_was"),
            ("requested_ip", "10.96.0.2", "wrong_address"),
            ("destination_port", 1, "wrong_address"),
            ("nat_original", "a:1->b:2", "wrong_address"),
            ("nat_reply", "a:1->b:2", "wrong_address"),
        ):
            with self.subTest(column):
                run = two_requests()
                run.hop(0, 3)[column] = value
                self.check(run, {fault: 1})

    def test_evidence_is_full_only_with_the_spans_that_were_made(self):
        run = two_requests()
        run.legs[3]["server_span"], run.legs[7]["server_span"] = "lost", "off"
        run.without(0, 3)
        figures = self.check(run, {})
        self.assertEqual((figures["full_evidence"], figures["full_evidence_rate"]), (1, 1))
        self.assertEqual((figures["full_coverage"], figures["full_coverage_rate"]), (2, 0.5))

    def test_sight_is_full_only_where_the_pod_lost_no_other_call_that_lies_in_the_request(self):
        served = {"server_pod_uid": "frontend-1"}
        for inside_ms, is_inside in ((0, True), (-1, False)):
            run = two_requests()
            # Another request of the same pod, whose call was lost where it was made.
            run.legs[6].update(served)
            lost, meanwhile = run.legs[7], run.legs[2]
            lost.update(
                client_pod_uid="frontend-1", client_exchange="lost",
                true_client_start_ns=meanwhile["true_server_start_ns"] + inside_ms * example.MS,
                true_client_end_ns=meanwhile["true_server_end_ns"],
            )  # fmt: skip
            figures = scored(run)
            self.assertEqual(figures["full_coverage"], 2)
            self.assertEqual(figures["full_sight"], 1 if is_inside else 2)

    def test_attempts_told_the_other_way_round_are_not_the_whole_path(self):
        run = two_requests()
        run.hop(0, 1)["attempt"], run.hop(0, 2)["attempt"] = 2, 1
        figures = self.check(run, {})
        self.assertEqual(figures["coverage"], 0.5)
        self.assertEqual(figures["attribution"]["attempts"]["accuracy"], 0.5)

    def test_try_that_the_log_alone_tells_of_is_found_by_its_parent(self):
        def unseen(attempt: int) -> example.Run:
            run = two_requests()
            run.hop(0, 1).update(
                evidence=["access_log"], source_port=None, start_ns=0, end_ns=0,
                attempt=attempt, reasons=["OK_UPSTREAM_UNIQUE"],
            )  # fmt: skip
            return run

        self.check(unseen(1), {})
        self.check(unseen(3), {"never_was": 1})

    def test_stamp_of_either_clock_epoch_identifies_a_hop(self):
        run = two_requests()
        run.legs[3]["client_start_alt_ns"] = 77
        run.hop(0, 3)["start_ns"] = 77
        self.check(run, {})

    def test_provisional_rows_count_only_where_their_window_has_no_final_one(self):
        run = two_requests()
        early = {"stage": "P", "finality": "provisional"}
        run.hops.append({**run.hop(0, 3), **early, "destination_pod_uid": "cart-1"})
        run.paths.append({**run.path(0), **early, "verdict": "partial"})
        figures = self.check(run, {})
        self.assertEqual(figures["paths"], 2)
        self.assertEqual(figures["stability"]["changed"], 1)

    def test_windows_without_final_rows_are_read_as_they_are(self):
        run = two_requests()
        for row in (*run.hops[4:], run.paths[1]):
            row.update(win=example.WIN["win"] + 10, stage="P", finality="provisional")
        run.hop(1, 3)["destination_pod_uid"] = "cart-0"
        figures = self.check(run, {"wrong_server_pod": 1})
        self.assertEqual(figures["paths"], 2)
        self.assertNotIn("stability", figures)
