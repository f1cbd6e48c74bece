"""Small runs made by hand: what happened, and a product that tells it truly until it is damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from score.sim import asserted, stability

MS = 1_000_000
WIN = {"win": 1_700_000_000, "stage": "F", "revision": 0, "finality": "final"}

REQUEST = {"request": "BIGINT", "request_id": "VARCHAR", "full_coverage": "BOOLEAN"}
TEXT = """kind client_pod_uid client_node server_pod_uid server_node service client_ip requested_ip
    server_ip peer_ip client_exchange server_exchange client_span server_span missing""".split()
WHOLE = """request leg parent_leg call attempt client_port requested_port server_port peer_port
    client_start_ns client_end_ns client_start_alt_ns server_start_ns server_end_ns
    server_start_alt_ns true_client_start_ns true_client_end_ns true_server_start_ns
    true_server_end_ns""".split()
PATH = asserted.PATH | {"hops": stability.COLUMNS["hops"]}
LEG = dict.fromkeys(TEXT, "VARCHAR") | dict.fromkeys(WHOLE, "BIGINT")


def leg(request: int, number: int, parent: int | None, start_ns: int, **known) -> dict:
    """A call from pod `client` to pod `server` of a Service that translates. The server's clock is
    300 ms ahead."""
    client, server = known.pop("client", None), known.pop("server")
    port = 40_000 + 10 * request + number
    end_ns = start_ns + (20 - 4 * number) * MS
    row = {
        "request": request, "leg": number, "parent_leg": parent, "call": 0, "attempt": 1,
        "kind": "service", "client_pod_uid": client, "client_node": client and "node-1",
        "server_pod_uid": server, "server_node": "node-2", "service": server.rsplit("-", 1)[0],
        "client_ip": f"ip-{client}" if client else "ext-00000000000000ff", "client_port": port,
        "requested_ip": "10.96.0.1", "requested_port": 80,
        "server_ip": f"ip-{server}", "server_port": 8080,
        "peer_ip": f"ip-{client}" if client else "10.89.0.11", "peer_port": port,
        "client_start_ns": start_ns if client else None,
        "client_end_ns": end_ns if client else None, "client_start_alt_ns": None,
        "server_start_ns": start_ns + 301 * MS, "server_end_ns": end_ns + 299 * MS,
        "server_start_alt_ns": None, "true_client_start_ns": start_ns, "true_client_end_ns": end_ns,
        "true_server_start_ns": start_ns + MS, "true_server_end_ns": end_ns - MS,
        "client_exchange": "seen" if client else "none", "server_exchange": "seen",
        "client_span": "seen" if client else "none", "server_span": "seen", "missing": None,
    }  # fmt: skip
    return row | known


def request(number: int, frontend: str = "frontend-1", cart: str = "cart-0") -> list[dict]:
    """Entry, a try at a frontend that hung up, a try at another, and its call of the cart."""
    start_ns = (1_000 + 100 * number) * MS
    tries = {"client": "ingress-0", "kind": "ingress", "requested_port": 8080}
    return [
        leg(number, 0, None, start_ns, server="ingress-0", kind="edge"),
        leg(number, 1, 0, start_ns + MS, server="frontend-0", requested_ip="ip-frontend-0",
            **tries),
        leg(number, 2, 0, start_ns + 2 * MS, server=frontend, requested_ip=f"ip-{frontend}",
            attempt=2, **tries),
        leg(number, 3, 2, start_ns + 3 * MS, client=frontend, server=cart),
    ]  # fmt: skip


@dataclass
class Run:
    """Rows of both sides, to be changed by a test before it scores them."""

    legs: list[dict]
    requests: list[dict] = field(default_factory=list)
    hops: list[dict] = field(default_factory=list)
    paths: list[dict] = field(default_factory=list)
    ambiguous: list[dict] = field(default_factory=list)

    def hop(self, request: int, position: int) -> dict:
        found = (h for h in self.hops if (h["path_id"], h["position"]) == (f"p{request}", position))
        return next(found)

    def path(self, request: int) -> dict:
        return next(p for p in self.paths if p["path_id"] == f"p{request}")

    def without(self, request: int, position: int) -> None:
        self.hops.remove(self.hop(request, position))


def told(legs: list[dict]) -> Run:
    """A product that knows everything."""
    run = Run(legs)
    for number in sorted({row["request"] for row in legs}):
        of_request = [row for row in legs if row["request"] == number]
        run.requests.append(
            {"request": number, "request_id": f"id-{number}", "full_coverage": True}
        )
        run.hops += [hop_of(row) for row in of_request]
        run.paths.append(
            {"path_id": f"p{number}", "verdict": "complete", "missing": [], "reasons": [],
             "conf_min": 0.999,
             "hop_count": len(of_request), "start_ns": of_request[0]["server_start_ns"]}
        )  # fmt: skip
    return run


def hop_of(row: dict) -> dict:
    at_client = row["client_start_ns"] is not None
    end = "client" if at_client else "server"
    reasons = ["OK_TUPLE_SEQ"] if at_client else ["OK_NAT_CHAIN"]
    if row["parent_leg"] is not None:
        reasons.append("OK_UPSTREAM_UNIQUE" if row["kind"] == "ingress" else "OK_EXACT_ID")
    original = f"{row['client_ip']}:{row['client_port']}"
    original += f"->{row['requested_ip']}:{row['requested_port']}"
    reply = f"{row['server_ip']}:{row['server_port']}->{row['peer_ip']}:{row['peer_port']}"
    is_translated = row["requested_ip"] != row["server_ip"]
    return {
        "path_id": f"p{row['request']}", "position": row["leg"], "parent": row["parent_leg"],
        "kind": row["kind"], "attempt": row["attempt"], "source_pod_uid": row["client_pod_uid"],
        "source_node": row["client_node"], "source_ip": row["client_ip"],
        "source_port": row["client_port"], "requested_ip": row["requested_ip"],
        "requested_port": row["requested_port"], "service": row["service"],
        "destination_pod_uid": row["server_pod_uid"], "destination_node": row["server_node"],
        "destination_ip": row["server_ip"], "destination_port": row["server_port"],
        "nat_original": original if is_translated else None,
        "nat_reply": reply if is_translated else None,
        "start_ns": row[f"{end}_start_ns"], "end_ns": row[f"{end}_end_ns"], "status": 200,
        "evidence": ["client_exchange", "server_exchange"] if at_client else ["server_exchange"],
        "confidence": 0.999, "reasons": reasons,
    }  # fmt: skip


def write(out: Path, run: Run) -> None:
    (out / "truth").mkdir(parents=True)
    (out / "truth" / "run.json").write_text(json.dumps({"seed": 1, "truth_every": 1}))
    with duckdb.connect() as connection:
        parquet(connection, out / "truth" / "requests.parquet", REQUEST, run.requests)
        parquet(connection, out / "truth" / "legs.parquet", LEG, run.legs)
        tables = {
            "path": (PATH, [row | {"hops": nested(row, run.hops)} for row in run.paths]),
            "hop": (asserted.HOP, run.hops),
            "ambiguous": (asserted.AMBIGUOUS, run.ambiguous),
        }
        for name, (columns, rows) in tables.items():
            delta(connection, out / "tables" / name, columns, [WIN | row for row in rows])


def nested(path: dict, hops: list[dict]) -> list[dict]:
    """The hops as the path's own row lists them, pods by name."""
    same = ("path_id", "stage")
    return [
        {
            "position": hop["position"], "parent": hop["parent"],
            "source_pod": hop["source_pod_uid"], "destination_pod": hop["destination_pod_uid"],
            "service": hop["service"],
        }
        for hop in hops
        if [hop.get(name) for name in same] == [path.get(name) for name in same]
    ]  # fmt: skip


def delta(connection, table: Path, columns: dict[str, str], rows: list[dict]) -> None:
    """A table of one commit with one file."""
    log = table / "_delta_log"
    log.mkdir(parents=True)
    parquet(connection, table / "a b.parquet", columns, rows)
    (log / f"{0:020d}.json").write_text(json.dumps({"add": {"path": "a%20b.parquet"}}) + "\n")


def parquet(connection, file: Path, columns: dict[str, str], rows: list[dict]) -> None:
    described = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    lines = file.with_suffix(".json")
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    connection.execute(
        f"""COPY (SELECT * FROM read_json('{lines}', columns = {{{described}}},
            format = 'newline_delimited')) TO '{file}' (FORMAT parquet)"""
    )
    lines.unlink()
