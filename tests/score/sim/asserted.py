"""What the product asserts: tables `path`, `hop` and `undecided`, and how each hop is known.

Final rows count, and in windows that have none, the newest revision of each path.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from . import delta
from .truth import end, text

STAGED = {"win": "BIGINT", "stage": "VARCHAR", "revision": "INTEGER", "finality": "VARCHAR"}
PATH = STAGED | {
    "path_id": "VARCHAR",
    "start_ns": "BIGINT",
    "hop_count": "INTEGER",
    "verdict": "VARCHAR",
    "missing": "VARCHAR[]",
    "reasons": "VARCHAR[]",
    "conf_min": "DOUBLE",
}
HOP = STAGED | {
    "path_id": "VARCHAR",
    "position": "INTEGER",
    "parent": "INTEGER",
    "kind": "VARCHAR",
    "attempt": "INTEGER",
    "source_pod_uid": "VARCHAR",
    "source_node": "VARCHAR",
    "source_ip": "VARCHAR",
    "source_port": "INTEGER",
    "requested_ip": "VARCHAR",
    "requested_port": "INTEGER",
    "service": "VARCHAR",
    "destination_pod_uid": "VARCHAR",
    "destination_node": "VARCHAR",
    "destination_ip": "VARCHAR",
    "destination_port": "INTEGER",
    "nat_original": "VARCHAR",
    "nat_reply": "VARCHAR",
    "start_ns": "BIGINT",
    "end_ns": "BIGINT",
    "status": "INTEGER",
    "evidence": "VARCHAR[]",
    "confidence": "DOUBLE",
    "reasons": "VARCHAR[]",
}
CANDIDATE = "STRUCT(path_id VARCHAR, what VARCHAR, p DOUBLE, evidence VARCHAR[])"
AMBIGUOUS = STAGED | {
    "path_id": "VARCHAR",
    "segment": "VARCHAR",
    "reason": "VARCHAR",
    "start_ns": "BIGINT",
    "end_ns": "BIGINT",
    "candidates": CANDIDATE + "[]",
}

CLASSES = {
    "statistical": "list_contains(reasons, 'OK_STATISTICAL')",
    "containment": "list_contains(reasons, 'OK_CONTAINMENT')",
    "thread": "list_contains(reasons, 'OK_THREAD')",
    "proxy": "list_contains(reasons, 'OK_UPSTREAM_UNIQUE')",
    "nat": "list_contains(reasons, 'OK_NAT_CHAIN') AND NOT (at_client AND at_server)",
    "tuple_ordinal": "list_contains(reasons, 'OK_TUPLE_ORDINAL')",
    "ids": "list_contains(reasons, 'OK_EXACT_ID')",
    "tuple_seq": "list_contains(reasons, 'OK_TUPLE_SEQ')",
}
"""Evidence classes, the weakest first: a hop is of the class of its weakest link. A hop that links
nothing, because one end alone tells of it and it has no parent, is of the class `one_end`."""


def load(connection: duckdb.DuckDBPyConnection, tables: Path) -> None:
    load_paths(connection, current(connection, tables, "path", PATH))
    load_hops(connection, current(connection, tables, "hop", HOP))
    connection.execute(
        f"""CREATE TABLE undecided AS
        SELECT row_number() OVER () AS row, a.* FROM
        {current(connection, tables, "ambiguous", AMBIGUOUS)} a
        WHERE finality = 'final' OR win NOT IN (SELECT win FROM final_window)"""
    )


def current(connection, tables: Path, table: str, columns: dict[str, str]) -> str:
    return delta.relation(delta.files(connection, tables / table).current, columns)


def load_paths(connection, rows: str) -> None:
    connection.execute(
        f"""CREATE TABLE path_row AS SELECT * FROM {rows};
        CREATE TABLE final_window AS SELECT DISTINCT win FROM path_row WHERE finality = 'final';
        CREATE TABLE path AS
        SELECT row_number() OVER () AS path, hash(path_id, win, stage, revision) AS key, *
        FROM path_row
        WHERE finality = 'final' OR win NOT IN (SELECT win FROM final_window)
        QUALIFY finality = 'final'
            OR row_number() OVER (PARTITION BY path_id ORDER BY revision DESC, win DESC) = 1;
        DROP TABLE path_row"""
    )


def load_hops(connection, rows: str) -> None:
    """Texts that are only compared become their hashes, see `truth.py`."""
    class_of = " ".join(f"WHEN {test} THEN '{name}'" for name, test in CLASSES.items())
    connection.execute(
        f"""CREATE TABLE hop AS
        SELECT row_number() OVER () AS hop, path, verdict, position, parent, kind, attempt,
            at_client, at_server, confidence, start_ns, end_ns,
            CASE {class_of} ELSE 'one_end' END AS class,
            {text("source_pod_uid")} AS said_client_pod,
            {text("destination_pod_uid")} AS said_server_pod,
            {text("source_node")} AS said_client_node,
            {text("destination_node")} AS said_server_node,
            {text("service")} AS said_service,
            {end("source")} AS said_client,
            {end("requested")} AS said_requested,
            {end("destination")} AS said_server,
            {text("nat_original")} AS said_original,
            {text("nat_reply")} AS said_reply
        FROM (
            SELECT p.path, p.verdict, h.*,
                list_contains(h.evidence, 'client_exchange') AS at_client,
                list_contains(h.evidence, 'server_exchange') AS at_server
            FROM {rows} h JOIN path p
                ON p.key = hash(h.path_id, h.win, h.stage, h.revision)
        )"""
    )
