"""What the collector has to answer to hostile input, and what it has to keep."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import constants, netns
from lab.cluster import Cluster
from score import tables

from .hostile import NEIGHBOUR_TRACE

NEIGHBOURS_MAX_S = 100


@dataclass
class Answers:
    by_case: dict[str, dict]

    def check(self, expected: dict[str, tuple]) -> None:
        for case, statuses in expected.items():
            got = self.by_case[case]["status"]
            assert got in statuses, f"{case} was answered with {got}, not {statuses}"


def send(cluster: Cluster, tests: Path) -> Answers:
    """Sends all of it from node 2's network while other traffic goes on."""
    command = [*netns.prefix(constants.node_netns("node-2")), cluster.python, "-m", "e2e.hostile"]
    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(tests), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=NEIGHBOURS_MAX_S,
    )
    assert done.returncode == 0, done.stderr
    return Answers(json.loads(done.stdout))


def quarantined(connection, folder: Path) -> list[dict]:
    columns = "receiver, reason, length, keyed_hash"
    return tables.rows(connection, folder / "raw_quarantine", columns)


def three_random_bytes(answers: Answers, rows: list[dict]) -> str:
    answers.check(
        {
            "random_http": (400,),
            "random_json": (400,),
            "random_gzip": (400,),
            "random_grpc": ("INVALID_ARGUMENT",),
            "random_agent": ("INVALID_ARGUMENT",),
        }
    )
    kept = [row for row in rows if row["length"] == 3]
    receivers = {row["receiver"] for row in kept}
    assert {"otlp_http", "otlp_grpc", "agent", "syslog"} <= receivers, (
        f"quarantined by {receivers} only"
    )
    assert all(row["keyed_hash"] and row["reason"] for row in kept), kept
    return f"{len(kept)} rows"


def empty_body(answers: Answers, rows: list[dict]) -> str:
    """Nothing at all is a valid protobuf message without spans, and no JSON."""
    answers.check({"empty_http": (200,), "empty_json": (400,), "empty_grpc": ("OK",)})
    kept = [row["reason"] for row in rows if row["length"] == 0]
    assert kept == ["json_invalid"], f"quarantined with no bytes: {kept}"
    return ""


def huge_body(answers: Answers, rows: list[dict]) -> str:
    answers.check(
        {
            "huge_http": (413,),
            "huge_gzip": (413,),
            "huge_grpc": ("RESOURCE_EXHAUSTED",),
        }
    )
    too_large = [row for row in rows if row["reason"] == "too_large"]
    assert too_large, f"no row says too_large, only {sorted({row['reason'] for row in rows})}"
    return f"{len(too_large)} rows"


def cut_log_line(connection, folder: Path, rows: list[dict]) -> str:
    cut = [row for row in rows if row["receiver"] == "syslog" and row["reason"] == "line_cut"]
    assert len(cut) == 2, f"{len(cut)} rows for two cut lines"
    is_neighbour = "upstream_name IS NOT NULL AND route LIKE '/hostile%'"
    neighbours = tables.rows(connection, folder / "raw_access_log", "route", is_neighbour)
    assert len(neighbours) == 2, f"{len(neighbours)} of 2 whole lines beside the cut one are there"
    return ""


def span_without_ids(answers: Answers, connection, folder: Path, rows: list[dict]) -> str:
    for case, status in (("span_without_ids_http", 200), ("span_without_ids_grpc", "OK")):
        got = answers.by_case[case]
        assert got == {"status": status, "rejected": 1}, f"{case} was answered with {got}"
    kept = [row for row in rows if row["reason"] == "span_without_ids"]
    assert len(kept) == 2, f"{len(kept)} rows for two spans without ids"
    neighbours = tables.rows(
        connection, folder / "raw_span", "span_id", f"trace_id = '{NEIGHBOUR_TRACE.hex()}'"
    )
    assert len(neighbours) == 4, f"{len(neighbours)} of 4 good spans beside the bad ones are there"
    return ""
