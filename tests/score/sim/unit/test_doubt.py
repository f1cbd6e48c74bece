"""Ambiguous rows, absences and calibration: truth and rows by hand."""

import unittest

from . import example
from .test_commits import scored, two_requests


def candidate(what: str, p: float, evidence: str = "containment") -> dict:
    return {"path_id": None, "what": what, "p": p, "evidence": [evidence]}


def peer(row: dict) -> str:
    return f"request from {row['peer_ip']}:{row['peer_port']}"


def undecided(run: example.Run, number: int, candidates: list[dict], **known) -> dict:
    """The call of the cart by request `number`, taken out of its path."""
    row = next(row for row in run.legs if (row["request"], row["leg"]) == (number, 3))
    run.without(number, 3)
    run.path(number)["verdict"] = "ambiguous"
    return {
        "path_id": f"p{number}", "segment": "relay in frontend-1: call to 10.96.0.1:80",
        "reason": "AMBIG_TIME_ONLY", "start_ns": row["client_start_ns"],
        "end_ns": row["client_end_ns"], "candidates": candidates,
    } | known  # fmt: skip


class Doubt(unittest.TestCase):
    def test_set_that_holds_the_truth_is_a_hit_and_one_that_does_not_is_none(self):
        run = two_requests()
        right, wrong = run.legs[2], run.legs[6]
        both = [candidate(peer(right), 0.5), candidate(peer(wrong), 0.5)]
        run.ambiguous = [undecided(run, 0, both)]
        found = scored(run)["ambiguity"]
        self.assertEqual((found["sets"], found["hit_rate"], found["mean_size"]), (1, 1, 2))
        run.ambiguous.append(undecided(run, 1, [candidate(peer(right), 1.0)]))
        found = scored(run)["ambiguity"]
        self.assertEqual((found["sets"], found["hit_rate"], found["mean_size"]), (2, 0.5, 1.5))
        self.assertEqual((found["cut"], found["cut_hits"]), (0, 0))
        run.ambiguous[0]["candidates"] = both[:1]
        found = scored(run)["ambiguity"]
        self.assertEqual((found["sets"], found["cut"], found["cut_hits"]), (2, 1, 1))
        self.assertEqual(found["unidentified"], 0)

    def test_row_in_each_path_that_may_own_a_call_counts_once(self):
        run = two_requests()
        row = undecided(run, 0, [candidate(peer(run.legs[2]), 1.0)])
        run.ambiguous = [row, {**row, "path_id": "p1"}]
        found = scored(run)["ambiguity"]
        self.assertEqual((found["rows"], found["sets"], found["hit_rate"]), (2, 1, 1))

    def test_candidate_may_be_named_by_its_path(self):
        run = two_requests()
        for path_id, expected in (("p0", 1), ("p1", 0)):
            run.hops, run.paths = two_requests().hops, two_requests().paths
            named = candidate("some request", 0.5) | {"path_id": path_id}
            run.ambiguous = [undecided(run, 0, [named])]
            self.assertEqual(scored(run)["ambiguity"]["hit_rate"], expected, path_id)

    def test_servers_and_log_lines_are_looked_up_too(self):
        run = two_requests()
        row = run.legs[3]
        at_client = {"start_ns": row["client_start_ns"], "end_ns": row["client_end_ns"]}
        entry = run.legs[0]
        at_server = {"start_ns": entry["server_start_ns"], "end_ns": entry["server_end_ns"]}
        shared = {"path_id": "p0", "reason": "AMBIG_NAT_PORT_REUSE"}
        servers = [candidate(f"{pod} (ip-{pod}:8080)", 0.5) for pod in ("cart-1", "cart-0")]
        lines = [candidate("request id id-1", 0.5), candidate("request id id-0", 0.5)]
        run.ambiguous = [
            {**shared, **at_client, "segment": "server of 10.96.0.1:80", "candidates": servers},
            {**shared, **at_server, "segment": "log line of ingress-0", "candidates": lines},
        ]
        self.assertEqual(scored(run)["ambiguity"]["hit_rate"], 1)
        del servers[1], lines[1]
        self.assertEqual(scored(run)["ambiguity"]["hit_rate"], 0)

    def test_doubt_is_unnecessary_where_ids_of_the_whole_chain_were_recorded(self):
        run = two_requests()
        run.ambiguous = [undecided(run, 0, [candidate("nobody", 0.5)])]
        self.assertEqual(scored(run)["ambiguity"]["unnecessary"], 1)
        run.legs[3]["server_span"] = "lost"
        self.assertEqual(scored(run)["ambiguity"]["unnecessary"], 0)

    def test_row_that_says_that_something_is_missing_claims_no_truth(self):
        run = two_requests()
        row = undecided(run, 0, [candidate("nobody", 0.5)], reason="MISSING_LOST_EVENTS")
        run.ambiguous = [row]
        found = scored(run)["ambiguity"]
        self.assertEqual((found["sets"], found["hit_rate"], found["doubted"]), (0, None, 1))

    def test_absences_are_compared_by_request_and_reason(self):
        run = two_requests()
        run.legs[3]["missing"] = "lost"
        run.legs[5]["missing"] = "lost"
        run.legs[7]["missing"] = "no_coverage"
        run.path(0)["missing"] = ["server end in cart-0: MISSING_LOST_EVENTS", "x: MISSING_LATE"]
        row = undecided(run, 1, [], segment="cause of a call by frontend-2",
                        reason="MISSING_NO_COVERAGE", path_id=None)  # fmt: skip
        run.ambiguous = [row]
        run.legs[0]["server_span"] = "sampled"
        run.path(0)["reasons"] = ["MISSING_SAMPLED_OUT", "HAIRPIN"]
        found = scored(run)["missing"]
        self.assertEqual(
            found["MISSING_LOST_EVENTS"], {"said": 1, "so": 2, "precision": 1, "recall": 0.5}
        )
        self.assertEqual(
            found["MISSING_LATE"], {"said": 1, "so": 0, "precision": 0, "recall": None}
        )
        self.assertEqual(found["MISSING_NO_COVERAGE"]["recall"], 1)
        self.assertEqual(found["MISSING_SAMPLED_OUT"]["precision"], 1)
        self.assertEqual(len(found), 4)


class Calibration(unittest.TestCase):
    def test_error_is_how_far_the_said_is_from_the_so(self):
        run = two_requests()
        for hop in run.hops:
            hop.update(reasons=["OK_STATISTICAL"], confidence=0.98)
        run.hop(0, 3)["destination_pod_uid"] = "cart-1"
        found = scored(run)["calibration"]["statistical"]
        self.assertEqual(found["n"], 8)
        self.assertAlmostEqual(found["ece"], 0.98 - 7 / 8, places=6)
        self.assertAlmostEqual(found["brier"], (7 * 0.02**2 + 0.98**2) / 8, places=6)

    def test_candidates_of_the_statistical_stage_count_with_its_hops(self):
        run = two_requests()
        answers = {peer(run.legs[2]): 0.7, "nobody": 0.3}
        listed = [candidate(what, p, "statistical") for what, p in answers.items()]
        run.ambiguous = [undecided(run, 0, listed)]
        found = scored(run)["calibration"]
        self.assertEqual(found["statistical"]["n"], 2)
        self.assertAlmostEqual(found["statistical"]["ece"], (0.3 + 0.3) / 2, places=6)
        self.assertNotIn("candidates", found)
