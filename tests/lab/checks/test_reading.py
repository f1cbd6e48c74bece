"""What the lab reads from other programs' text, without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from lab import demo, settle
from lab.cleanup import OWN_NAMESPACE
from lab.netns import LINK_NAME_LENGTH_MAX, pod_link
from lab.parts import REPOSITORY
from lab.service import programmed_endpoints


class Rules(unittest.TestCase):
    def check(self, rules: str, expected: set[str]):
        self.assertEqual(programmed_endpoints(rules), expected)

    def test_an_iptables_destination_is_an_endpoint(self):
        self.check(
            "-A KUBE-SEP-X -p tcp -m tcp -j DNAT --to-destination 10.244.1.2:8080",
            {"10.244.1.2:8080"},
        )

    def test_an_nft_choice_of_two_is_two_endpoints(self):
        self.check(
            "dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 8080, 1 : 10.244.2.2 . 80 }",
            {"10.244.1.2:8080", "10.244.2.2:80"},
        )

    def test_an_nft_pair_of_addresses_is_no_endpoint(self):
        self.check("elements = { 10.244.1.2 . 10.244.1.2 . tcp . 8080 }", set())


class Names(unittest.TestCase):
    def test_only_the_labs_own_namespaces_are_removed(self):
        for name in ("tl-net", "tl-control", "tl-node-1", "tl-pod-cart-0", "tl-client"):
            self.assertIsNotNone(OWN_NAMESPACE.fullmatch(name), name)
        for name in ("default", "tl-nodes", "x-tl-net", "tl-experiment", "tl-node-one"):
            self.assertIsNone(OWN_NAMESPACE.fullmatch(name), name)

    def test_a_long_pod_name_gets_a_link_name_that_fits_and_is_its_own(self):
        names = [pod_link(f"a-very-long-workload-{number}") for number in range(3)]
        self.assertEqual(len(set(names)), 3)
        self.assertLessEqual(max(map(len, names)), LINK_NAME_LENGTH_MAX)


class Progress(unittest.TestCase):
    def write_log(self, folder: str, *versions: tuple[str, int]):
        log = Path(folder) / "path" / "_delta_log"
        log.mkdir(parents=True)
        for number, (app_id, version) in enumerate(versions):
            lines = [{"txn": {"appId": app_id, "version": version}}, {"commitInfo": {}}]
            text = "\n".join(map(json.dumps, lines))
            (log / f"{number:020}.json").write_text(text)

    def test_a_moment_is_covered_once_its_window_is_committed_in_that_stage(self):
        with tempfile.TemporaryDirectory() as folder:
            self.write_log(folder, ("correlator/P", 7), ("correlator/F", 5), ("correlator/P", 8))
            within_7 = 75 * settle.NANOSECONDS
            self.assertTrue(settle.covers(Path(folder), "P", within_7, 10))
            self.assertFalse(settle.covers(Path(folder), "F", within_7, 10))

    def test_a_table_without_commits_covers_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertFalse(settle.covers(Path(folder), "P", 0, 10))


class Choice(unittest.TestCase):
    def test_the_demo_shows_a_plain_a_hairpin_and_the_killed_request(self):
        truth = [
            client("0", "client", "id-0"),
            client("1", "client", "id-1"),
            client("1/0/1", "cart-1"),
            server("1/0/1", "cart-1"),
            client("2", "client", "id-2"),
        ]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "truth.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in truth))
            chosen = [request_id for _, request_id in demo.chosen_requests(path, 2)]
        self.assertEqual(chosen, ["id-0", "id-1", "id-2"])


class Machine(unittest.TestCase):
    def test_a_machine_with_old_tools_is_told_all_of_them_with_remedies(self):
        with tempfile.TemporaryDirectory() as folder:
            for tool, answer in (("go", "go1.20.1"), ("cargo", "cargo 1.60.0")):
                fake = Path(folder) / tool
                fake.write_text(f"#!/bin/sh\necho {answer}\n")
                fake.chmod(0o755)
            script = REPOSITORY / "tests" / "parts" / "check.sh"
            done = subprocess.run(
                ["/bin/bash", str(script), folder],
                env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
            )
        self.assertEqual(done.returncode, 1)
        for complaint in ("go is 1.20.1, 1.26 or newer", "cargo is 1.60.0, 1.95 or newer"):
            self.assertIn(complaint, done.stderr)
        self.assertEqual(done.stderr.count("  - "), done.stderr.count("remedy: "))


def client(call: str, pod: str, request_id: str | None = None) -> dict:
    return {"kind": "client", "call": call, "pod": pod, "request_id": request_id}


def server(call: str, pod: str) -> dict:
    return {"kind": "server", "call": call, "pod": pod}


if __name__ == "__main__":
    unittest.main()
