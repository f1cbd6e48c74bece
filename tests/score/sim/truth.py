"""What really happened: tables `request` and `leg`, one row a call, as `tests/sim/README.md` says.

A request has *full coverage* when all that its sockets and proxies tell was recorded in time, and
*full evidence* when the same is true of its spans.

It has *full sight* when it has full coverage and nothing was lost that its own rows can't be told
without. To say what a request did is to say that it did nothing else: that no other call of its
pods was its own. Where a pod made a call while it served the request, and the agent there lost that
call, one end is left, the callee's, and only that pod's own row could have said for which of its
requests it was made. So the pod was not covered then, whoever's row it was: the design speaks of
coverage by node, pod and time, by the agents' own loss counters. Without ids no reader can know
better, and one that says *complete* there is right by luck. Only calls that truly began and ended
while the pod served the request count: that a call before or after is not its own can be known. What
is not seen of requests' arrivals, lines, translations and spans beside it takes nothing away.

Beside true times a leg has the times that the observers stamped with clocks of their own, for these
are what identifies a row of the product. An end that was not recorded has its stamps all the same,
and around a step of a node's clock either of two.

Texts that are only compared are kept as hashes of 64 bits on both sides: one false match is to be
expected in some thousand billion billion comparisons, and a million requests fit into memory.
"""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

MISSING = {
    "no_coverage": "MISSING_NO_COVERAGE",
    "lost": "MISSING_LOST_EVENTS",
    "late": "MISSING_LATE",
}
"""What the product calls the truth's words for why evidence lacks."""


THERE = "('seen', 'off', 'none')"
"""What may become of a span that is not missed: also that there never was one."""


BESIDE_AN_UNTOLD_CALL = """SELECT s.request FROM served s JOIN untold u ON u.pod = s.pod
    AND s.start_ns <= u.start_ns AND u.end_ns <= s.end_ns WHERE u.request <> s.request"""
"""Requests in a pod that then made a call for another one, of which its agent told nothing."""


class Incomplete(Exception):
    """The truth leaves requests out, so that a hop that is not found may well have been."""

    def __init__(self, every: int):
        super().__init__(f"the truth tells of one request in {every} only")


def load(connection: duckdb.DuckDBPyConnection, truth: Path) -> None:
    described = json.loads((truth / "run.json").read_text())
    if described.get("truth_every", 1) != 1:
        raise Incomplete(described["truth_every"])
    reason = " ".join(f"WHEN '{word}' THEN '{code}'" for word, code in MISSING.items())
    connection.execute(
        f"""CREATE TABLE served AS
        SELECT request, {text("server_pod_uid")} AS pod,
            true_server_start_ns AS start_ns, true_server_end_ns AS end_ns
        FROM read_parquet('{truth / "legs.parquet"}') WHERE true_server_start_ns IS NOT NULL;

        CREATE TABLE untold AS
        SELECT request, {text("client_pod_uid")} AS pod,
            true_client_start_ns AS start_ns, true_client_end_ns AS end_ns
        FROM read_parquet('{truth / "legs.parquet"}')
        WHERE client_exchange IN ('lost', 'late', 'down');

        CREATE TABLE request AS
        SELECT r.request, r.request_id, r.full_coverage,
            r.full_coverage AND l.spans_seen AS full_evidence,
            r.full_coverage AND r.request NOT IN ({BESIDE_AN_UNTOLD_CALL}) AS full_sight,
            l.is_sampled_out
        FROM read_parquet('{truth / "requests.parquet"}') r
        JOIN (
            SELECT request, bool_and(client_span IN {THERE} AND server_span IN {THERE})
                AS spans_seen,
                bool_or(client_span = 'sampled' OR server_span = 'sampled') AS is_sampled_out
            FROM read_parquet('{truth / "legs.parquet"}') GROUP BY request
        ) l USING (request);

        DROP TABLE served; DROP TABLE untold;

        CREATE TABLE leg AS
        WITH numbered AS (
            SELECT row_number() OVER () AS id, *
            FROM read_parquet('{truth / "legs.parquet"}')
        )
        SELECT l.id, l.request, l.leg, l.call, l.attempt, l.kind,
            p.id AS parent_id, l.parent_leg,
            {text("l.client_pod_uid")} AS client_pod, {text("l.client_node")} AS client_node,
            {text("l.server_pod_uid")} AS server_pod, {text("l.server_node")} AS server_node,
            {text("l.service")} AS service,
            {end("l.client")} AS client, {end("l.requested")} AS requested,
            {end("l.server")} AS server,
            hash({tuple_of("l.client", "l.requested")}) AS original,
            hash({tuple_of("l.server", "l.peer")}) AS reply,
            concat(l.peer_ip, ':', l.peer_port) AS peer,
            concat(l.server_ip, ':', l.server_port) AS server_end,
            l.client_start_ns, l.client_end_ns, l.client_start_alt_ns,
            l.server_start_ns, l.server_end_ns, l.server_start_alt_ns,
            l.client_exchange = 'seen' AND l.server_exchange = 'seen' AS both_seen,
            -- The chain of ids from the call up to the request that caused it.
            coalesce(l.server_span = 'seen' AND l.client_span = 'seen' AND p.server_span = 'seen',
                false) AS ids_seen,
            CASE l.missing {reason} END AS missing
        FROM numbered l LEFT JOIN (SELECT id, request, leg, server_span FROM numbered) p
            ON p.request = l.request AND p.leg = l.parent_leg;

        CREATE VIEW stamped_at_client AS
        SELECT id, client AS socket, client_start_ns AS start_ns, client_end_ns AS end_ns
        FROM leg WHERE client_start_ns IS NOT NULL
        UNION ALL
        SELECT id, client, client_start_alt_ns, client_end_ns
        FROM leg WHERE client_start_alt_ns IS NOT NULL;

        CREATE VIEW stamped_at_server AS
        SELECT id, server AS socket, server_start_ns AS start_ns, server_end_ns AS end_ns
        FROM leg WHERE server_start_ns IS NOT NULL
        UNION ALL
        SELECT id, server, server_start_alt_ns, server_end_ns
        FROM leg WHERE server_start_alt_ns IS NOT NULL"""
    )


def text(column: str) -> str:
    """SQL of a text for comparison; null stays null."""
    return f"CASE WHEN {column} IS NOT NULL THEN hash({column}) END"


def end(of: str) -> str:
    """SQL of an address and port for comparison; null where either is not known."""
    ip, port = f"{of}_ip", f"{of}_port"
    return f"CASE WHEN {ip} IS NOT NULL AND {port} IS NOT NULL THEN hash({ip}, {port}::BIGINT) END"


def tuple_of(source: str, destination: str) -> str:
    """SQL of a tuple as the product writes it: `ip:port->ip:port`."""
    first, last = (f"{of}_ip, ':', {of}_port" for of in (source, destination))
    return f"concat({first}, '->', {last})"
