"""The groups of checks: what each starts, and what is then asked of it."""

from __future__ import annotations

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import run
from lab.cluster import Cluster
from lab.parts import REPOSITORY
from lab.product import ProductSettings
from lab.run import Finished, RunSettings, runs_directory
from lab.shop import deploy
from score import tables, truth
from score.line import score

from . import bars, canary, derived, faults, hostile_checks, planted, reading
from .report import LeftOut, Report

TESTS = REPOSITORY / "tests"
SPARK = "THROUGHLINE_SPARK"
"""Set to 1 to fetch Spark when it is not cached."""
HOSTILE_AFTER_S = 5
TRACED_RATE, UNTRACED_RATE = 25.0, 20.0


def scored(report: Report, mode: str, traced: bool) -> None:
    """One run against its bars."""
    rate = TRACED_RATE if traced else UNTRACED_RATE
    settings = RunSettings(mode, traced, requests=1000, rate=rate)
    prefix = settings.name.replace("-", "_")
    outcome = "are_all_complete_and_true" if traced else "are_true_or_open_with_a_reason"
    names = [
        f"{prefix}_paths_{outcome}",
        f"{prefix}_paths_are_queryable_within_30_s",
        f"{prefix}_killed_backend_is_one_of_the_scored",
        f"{prefix}_traffic_is_varied",
    ]
    # The first run is also the one that the other checks look at.
    more = mode == "iptables" and traced
    if not report.wants(*names, *(LOOKING_NAMES if more else ())):
        return
    try:
        report.say(f"run {settings.name}: {settings.requests} requests at {rate:g}/s")
        out = runs_directory() / settings.name
        visit = Visit(settings, report)
        finished = visit.measure(out) if more else run.measure(settings, out, report.say)
        result = score(finished.out)
        report.say(result.line())
    except Exception as error:
        report.broken([*names, *(LOOKING_NAMES if more else ())], error)
        return
    report.check(names[0], lambda: (bars.all_true if traced else bars.none_false)(result))
    report.check(names[1], lambda: bars.queryable(result))
    report.check(names[2], lambda: bars.backend_was_killed(finished, result))
    report.check(names[3], lambda: bars.traffic_is_varied(truth.read(out / "truth.jsonl")))
    if more:
        look(report, finished, visit)


class Visit:
    """A run with visitors: hostile senders beside the traffic, and an eye on the spool."""

    def __init__(self, settings: RunSettings, report: Report):
        self.settings = settings
        self.product = ProductSettings()
        self.report = report
        self.answers: hostile_checks.Answers | None = None
        self.spool: canary.SpoolWatch | None = None
        self.marker: canary.Marker | None = None

    def measure(self, out: Path) -> Finished:
        run.prepare(out)
        settings = self.settings
        with Cluster(settings.mode, out, self.product, self.report.say) as cluster:
            cluster.product.start()
            shop = deploy(cluster, settings.traced, out / "truth.jsonl")
            self.marker = canary.Marker(shop.marker)
            self.spool = canary.SpoolWatch(out / "spool", self.marker)
            with self.spool, ThreadPoolExecutor(1) as beside:
                sent = beside.submit(self.send_hostile, cluster)
                driven = shop.drive(settings.requests, settings.rate, settings.kill)
                self.answers = sent.result()
            time.sleep(run.DRAIN_SECONDS)
            run.wait_for_paths(cluster, driven, until_final=True)
            cluster.product.require_running()
            run.record(cluster, settings, driven)
        return Finished(settings.name, out, driven)

    def send_hostile(self, cluster: Cluster) -> hostile_checks.Answers:
        time.sleep(HOSTILE_AFTER_S)
        return hostile_checks.send(cluster, TESTS)


LOOKING_NAMES = [
    "three_random_bytes_are_refused_and_quarantined",
    "empty_body_is_a_message_without_spans_or_no_json",
    "huge_body_is_refused_and_quarantined",
    "log_line_cut_in_the_middle_is_quarantined_and_its_neighbours_stay",
    "span_without_ids_is_quarantined_and_its_neighbours_stay",
    "hop_table_and_path_table_tell_the_same",
    "tables_open_in_duckdb_with_the_counts_that_the_product_reports",
    "tables_open_in_spark_with_the_same_counts",
    "marker_is_found_nowhere",
    "scorer_finds_what_is_planted_in_the_rows_of_a_real_run",
    "second_backfill_changes_nothing",
    "backfill_from_raw_tables_alone_gives_equal_rows",
]


def look(report: Report, finished: Finished, visit: Visit) -> None:
    """What is asked of the run's tables, logs and spool after it has ended."""
    connection = tables.connect()
    folder = finished.out / "tables"
    rows = hostile_checks.quarantined(connection, folder)
    answers = visit.answers
    bodies = [
        lambda: hostile_checks.three_random_bytes(answers, rows),
        lambda: hostile_checks.empty_body(answers, rows),
        lambda: hostile_checks.huge_body(answers, rows),
        lambda: hostile_checks.cut_log_line(connection, folder, rows),
        lambda: hostile_checks.span_without_ids(answers, connection, folder, rows),
        lambda: reading.hops_agree(connection, folder),
        lambda: counts_agree(connection, folder),
        lambda: spark_agrees(connection, folder),
        lambda: marker_is_nowhere(connection, finished.out, visit),
        lambda: planted.found(connection, finished.out),
        lambda: derived.second_changes_nothing(connection, finished, visit.product),
        lambda: derived.from_raw_tables_is_equal(connection, finished, visit.product),
    ]
    for name, body in zip(LOOKING_NAMES, bodies, strict=True):
        report.check(name, body)


def counts_agree(connection, folder: Path) -> str:
    counted, said = reading.duckdb_counts(connection, folder), reading.product_counts(folder)
    assert counted == said, f"DuckDB counts {counted}, the product says {said}"
    return f"{counted}"


def spark_agrees(connection, folder: Path) -> str:
    spark = reading.spark_directory(fetch=os.environ.get(SPARK) == "1")
    if spark is None:
        raise LeftOut(f"Spark is not cached; {SPARK}=1 fetches it")
    counted, said = reading.duckdb_counts(connection, folder), reading.spark_counts(spark, folder)
    assert counted == said, f"DuckDB counts {counted}, Spark {said}"
    return f"{len(counted)} tables"


def marker_is_nowhere(connection, out: Path, visit: Visit) -> str:
    control = visit.marker.found_in((out / "run.json").read_bytes())
    assert control == ["raw"], "the sweep does not even find the marker where it was written down"
    contents = itertools.chain(canary.written(connection, out), canary.said(out))
    hits, looked_at = canary.sweep(contents, visit.marker)
    hits += visit.spool.hits
    assert not hits, f"the marker is in {sorted(set(hits))[:10]}"
    assert visit.spool.bytes_seen > 0, "the spool was never seen with anything in it"
    return f"{looked_at / 1e6:.1f} MB and {visit.spool.bytes_seen / 1e6:.1f} MB of spool"


FAULT_NAMES = [
    "acknowledged_spans_survive_kill_9_of_the_collector_once",
    "agent_batches_survive_kill_9_of_the_collector_once",
    "stopped_agent_leaves_missing_for_no_coverage_and_nothing_guessed",
]


def troubled(report: Report) -> None:
    if not report.wants(*FAULT_NAMES):
        return
    try:
        report.say("run faults: a killed collector, a stopped agent")
        left = faults.measure(runs_directory() / "faults", report.say)
        connection = tables.connect()
    except Exception as error:
        report.broken(FAULT_NAMES, error)
        return
    bodies = [
        lambda: faults.acknowledged_spans_are_there_once(connection, left),
        lambda: faults.agent_batches_are_there_once(connection, left),
        lambda: faults.absence_is_told_and_nothing_guessed(connection, left),
    ]
    for name, body in zip(FAULT_NAMES, bodies, strict=True):
        report.check(name, body)
