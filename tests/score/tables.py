"""What the product says: its current path rows, and when each could first be read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import duckdb
import duckdb_extension_delta

from .truth import EXTERNAL

TOKEN = "ext-"
"""How the product's tokens for addresses outside the cluster begin."""


@dataclass
class AssertedHop:
    position: int
    parent: int | None
    attempt: int
    source_pod: str | None
    source: str | None
    requested: str | None
    service: str | None
    destination_pod: str | None
    destination: str | None
    nat: str | None
    """None when the product says that it does not know."""
    nat_original: str | None
    nat_reply: str | None
    start_ns: int
    end_ns: int


@dataclass
class AssertedPath:
    path_id: str
    request_id: str | None
    verdict: str
    reasons: list[str]
    missing: list[str]
    start_ns: int
    end_ns: int
    hops: list[AssertedHop] = field(default_factory=list)


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB with the extension from its wheel; nothing is fetched."""
    settings = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(config=settings)
    folder = Path(next(iter(duckdb_extension_delta.__path__)))
    extension = next(folder.glob("extensions/*/delta.duckdb_extension"))
    connection.execute(f"LOAD '{extension}'")
    return connection


def rows(connection, table: Path, columns: str, condition: str = "true") -> list[dict]:
    result = connection.execute(f"SELECT {columns} FROM delta_scan('{table}') WHERE {condition}")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def current_paths(connection, tables: Path) -> list[AssertedPath]:
    """Final rows, and for paths without one the newest revision."""
    columns = (
        "path_id, request_id, verdict, reasons, missing, start_ns, end_ns, hops, finality, "
        "revision, win"
    )
    newest: dict[str, dict] = {}
    for row in rows(connection, tables / "path", columns):
        known = newest.get(row["path_id"])
        if known is None or age(row) > age(known):
            newest[row["path_id"]] = row
    return [asserted_path(row) for row in newest.values()]


def age(row: dict) -> tuple:
    return row["finality"] == "final", row["revision"], row["win"]


def asserted_path(row: dict) -> AssertedPath:
    hops = [asserted_hop(hop) for hop in row["hops"]]
    return AssertedPath(
        row["path_id"],
        row["request_id"],
        row["verdict"],
        row["reasons"],
        row["missing"],
        row["start_ns"],
        row["end_ns"],
        sorted(hops, key=lambda hop: hop.position),
    )


def asserted_hop(hop: dict) -> AssertedHop:
    return AssertedHop(
        hop["position"],
        hop["parent"],
        hop["attempt"],
        hop["source_pod"],
        end(hop["source_ip"], hop["source_port"]),
        end(hop["requested_ip"], hop["requested_port"]),
        name(hop["service"]),
        hop["destination_pod"],
        end(hop["destination_ip"], hop["destination_port"]),
        None if hop["nat"] == "unknown" else hop["nat"],
        tuple_of(hop["nat_original"]),
        tuple_of(hop["nat_reply"]),
        hop["start_ns"],
        hop["end_ns"],
    )


def end(ip: str | None, port: int | None) -> str | None:
    if ip is None or port is None:
        return None
    return f"{EXTERNAL}:{port}" if ip.startswith(TOKEN) else f"{ip}:{port}"


def tuple_of(text: str | None) -> str | None:
    """`ip:port->ip:port` with tokens replaced, as the truth writes it."""
    if text is None:
        return None
    return "->".join(end(*side.rsplit(":", 1)) for side in text.replace(" ", "").split("->"))


def name(service: str | None) -> str | None:
    return service.rsplit("/", 1)[-1] if service else None


def first_commits(connection, tables: Path) -> dict[str, int]:
    """For each path id the time, in nanoseconds, of the commit that first added a row of it. The
    log tells it; files that a later stage has replaced are still there until a vacuum."""
    first: dict[str, int] = {}
    for log in sorted((tables / "path" / "_delta_log").glob("*.json")):
        actions = [json.loads(line) for line in log.read_text().splitlines() if line]
        committed_ms = next(a["commitInfo"]["timestamp"] for a in actions if "commitInfo" in a)
        for action in actions:
            file = tables / "path" / unquote(action["add"]["path"]) if "add" in action else None
            if file is None or not file.exists():
                continue
            ids = connection.execute(f"SELECT DISTINCT path_id FROM read_parquet('{file}')")
            for (path_id,) in ids.fetchall():
                first.setdefault(path_id, committed_ms * 1_000_000)
    return first
