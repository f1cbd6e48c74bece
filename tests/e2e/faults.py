"""One run with trouble: the collector is killed while it works, later an agent is away for 20 s."""

from __future__ import annotations

import collections
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lab import constants, run
from lab.cluster import Cluster
from lab.product import COLLECTOR, agent_name
from lab.run import RunSettings
from lab.shop import deploy
from score import tables, truth
from score.judgement import Calls, judge
from score.matching import Requests

SETTINGS = RunSettings("iptables", traced=True, requests=1000, rate=20.0, kill=False)
KILL_AFTER_S = 8
DOWN_S = 2
STOP_AFTER_S = 10
AWAY_S = 20
AWAY_NODE = "node-1"
MARGIN_NS = 2_000_000_000
"""How far from the edges of its absence nothing is expected of the agent in either direction."""
AGENT_TABLES = (
    "raw_exchange", "raw_connection", "raw_nat_binding", "raw_failure", "raw_heartbeat",
    "raw_capability",
)  # fmt: skip


@dataclass
class Troubled:
    """What the run left."""

    out: Path
    away_from_ns: int = 0
    away_to_ns: int = 0
    spool_bytes_at_kill: int = 0


def measure(out: Path, progress) -> Troubled:
    troubled = Troubled(out)
    run.prepare(out)
    with Cluster(SETTINGS.mode, out, progress=progress) as cluster:
        cluster.product.start()
        shop = deploy(cluster, SETTINGS.traced, out / "truth.jsonl")
        trouble = Trouble(cluster, troubled)
        trouble.start()
        driven = shop.drive(SETTINGS.requests, SETTINGS.rate, SETTINGS.kill)
        trouble.join()
        if trouble.error:
            raise trouble.error
        time.sleep(run.DRAIN_SECONDS)
        run.wait_for_paths(cluster, driven, until_final=True)
        cluster.product.require_running()
        run.record(cluster, SETTINGS, driven)
    return troubled


class Trouble(threading.Thread):
    """Happens beside the traffic."""

    def __init__(self, cluster: Cluster, troubled: Troubled):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.troubled = troubled
        self.error: Exception | None = None

    def run(self):
        try:
            self.kill_collector()
            time.sleep(STOP_AFTER_S)
            self.stop_agent()
        except Exception as error:
            self.error = error

    def kill_collector(self) -> None:
        product = self.cluster.product
        time.sleep(KILL_AFTER_S)
        self.cluster.progress("faults: kill -9 of the collector")
        product.kill9(COLLECTOR)
        spool = product.spool.rglob("*")
        self.troubled.spool_bytes_at_kill = sum(f.stat().st_size for f in spool if f.is_file())
        time.sleep(DOWN_S)
        product.restart(COLLECTOR)

    def stop_agent(self) -> None:
        product = self.cluster.product
        self.cluster.progress(f"faults: the agent of {AWAY_NODE} stops for {AWAY_S} s")
        product.stop_agent(AWAY_NODE)
        self.troubled.away_from_ns = time.time_ns()
        time.sleep(AWAY_S)
        self.troubled.away_to_ns = time.time_ns()
        product.restart(agent_name(AWAY_NODE))


def acknowledged_spans_are_there_once(connection, troubled: Troubled) -> str:
    acknowledged = collections.Counter(
        span
        for line in map(json.loads, (troubled.out / "truth.jsonl").read_text().splitlines())
        if line["kind"] == "acknowledged"
        for span in line["spans"]
    )
    rows = tables.rows(connection, troubled.out / "tables" / "raw_span", "trace_id, span_id")
    stored = collections.Counter(f"{row['trace_id']}:{row['span_id']}" for row in rows)
    lost = [span for span in acknowledged if not stored[span]]
    doubled = [span for span in acknowledged if stored[span] > 1]
    assert len(acknowledged) > SETTINGS.requests, f"only {len(acknowledged)} were acknowledged"
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged spans are lost"
    assert not doubled, f"{len(doubled)} of {len(acknowledged)} spans are there more than once"
    spooled = troubled.spool_bytes_at_kill
    return f"{len(acknowledged)} spans, {spooled} bytes in the spool at the kill"


def agent_batches_are_there_once(connection, troubled: Troubled) -> str:
    """Agents repeat a batch until it is acknowledged, so each of their records is there once and
    no number between the first batch and the last is missing."""
    batches: dict[tuple, set[int]] = collections.defaultdict(set)
    records = set()
    count = 0
    for name in AGENT_TABLES:
        table = troubled.out / "tables" / name
        if not (table / "_delta_log").exists():
            continue
        columns = "node, boot_id, sequence, item"
        for row in tables.rows(connection, table, columns, "source = 'agent'"):
            batches[row["node"], row["boot_id"]].add(row["sequence"])
            records.add((row["node"], row["boot_id"], row["sequence"], row["item"]))
            count += 1
    assert count == len(records), f"{count - len(records)} records are there twice"
    for life, sequences in batches.items():
        gaps = set(range(min(sequences), max(sequences) + 1)) - sequences
        assert not gaps, f"batches of {life} are missing: {sorted(gaps)[:10]}"
    # One node's agent had two lives.
    assert len(batches) == 3, f"lives of agents: {sorted(batches)}"
    return f"{count} records in {sum(map(len, batches.values()))} batches"


def absence_is_told_and_nothing_guessed(connection, troubled: Troubled) -> str:
    requests = truth.read(troubled.out / "truth.jsonl")
    paths = tables.current_paths(connection, troubled.out / "tables")
    rows, _ = Requests(requests).rows_of(paths)
    calls = Calls(requests)
    begin, end = troubled.away_from_ns + MARGIN_NS, troubled.away_to_ns - MARGIN_NS
    unseen = complete = 0
    for request in requests:
        of_request = rows.get(request.number, [])
        for path in of_request:
            false = judge(path, request, calls).false
            assert not false, f"request {request.number}: {'; '.join(false)}"
        if not (begin <= request.start_ns and request.end_ns <= end):
            continue
        assert of_request, f"request {request.number} has no path at all"
        path = of_request[0]
        told = [*path.missing, *path.reasons]
        says_so = any("MISSING_NO_COVERAGE" in why for why in told)
        if touches(request, AWAY_NODE):
            assert path.verdict != "complete" and says_so, (
                f"request {request.number} has calls on {AWAY_NODE}, is {path.verdict}, says {told}"
            )
            unseen += 1
        elif path.verdict == "complete":
            # Its connection was translated on that node while the agent was still there.
            absent = judge(path, request, calls).absent
            assert not absent, f"request {request.number} is complete and lacks {absent}"
            complete += 1
        else:
            assert says_so, f"request {request.number} is {path.verdict} and says {told}"
    assert unseen > SETTINGS.rate * AWAY_S / 4, f"only {unseen} requests were not seen whole"
    return f"{unseen} requests with unseen calls; {complete} without are complete"


def touches(request: truth.TrueRequest, node: str) -> bool:
    """Whether a pod of this node made or served a call of the request."""
    prefix = constants.POD_CIDRS[node].removesuffix("0/24")
    ends = [end for hop in request.hops for end in (hop.source, hop.destination) if end]
    return any(end.startswith(prefix) for end in ends)
