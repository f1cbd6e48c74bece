"""Other engines read the product's tables: do they see the same rows?"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from lab.parts import REPOSITORY, binary

SPARK_SCRIPT = Path(__file__).with_name("spark_counts.py")
SPARK_MAX_S = 300


def names(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/_delta_log"))


def duckdb_counts(connection, folder: Path) -> dict[str, int]:
    def count(name: str) -> int:
        query = f"SELECT count(*) FROM delta_scan('{folder / name}')"
        return connection.execute(query).fetchone()[0]

    return {name: count(name) for name in names(folder)}


def fingerprint(connection, table: Path, condition: str) -> tuple[int, int]:
    """Count and order-independent sum of the rows' hashes."""
    query = f"SELECT count(*), coalesce(sum(hash(t)::HUGEINT), 0) FROM delta_scan('{table}') t"
    return connection.execute(f"{query} WHERE {condition}").fetchone()


def product_counts(folder: Path) -> dict[str, int]:
    """What the product says itself."""
    command = [str(binary("throughline")), "doctor", "-o", "json", "--tables", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    report = json.loads(done.stdout)
    return {table["name"]: table["rows"] for table in report["tables"] if table["exists"]}


def spark_directory(fetch: bool) -> Path | None:
    """Where Spark is; None when it is not cached and need not be fetched."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(home) / "throughline"
    script = REPOSITORY / "tests" / "parts" / "spark.sh"
    command = [str(script), str(cache), *([] if fetch else ["--if-cached"])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def spark_counts(spark: Path, folder: Path) -> dict[str, int]:
    done = subprocess.run(
        [str(spark / "bin" / "python"), str(SPARK_SCRIPT), str(spark / "jars"), str(folder)],
        capture_output=True,
        text=True,
        timeout=SPARK_MAX_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def hops_agree(connection, folder: Path) -> str:
    """The hop table and the hops inside of path rows tell the same."""
    columns = ("position", "parent", "source_pod", "destination_pod", "nat_original", "nat_reply")
    inside = ", ".join(f"h.{name}" for name in columns)
    beside = ", ".join(columns)
    path, hop = (f"delta_scan('{folder / name}')" for name in ("path", "hop"))
    query = f"""
        WITH inside AS (SELECT path_id, stage, {inside} FROM (
                            SELECT path_id, stage, unnest(hops) h FROM {path})),
             beside AS (SELECT path_id, stage, {beside} FROM {hop})
        SELECT (SELECT count(*) FROM inside),
               (SELECT count(*) FROM (FROM inside EXCEPT ALL FROM beside)),
               (SELECT count(*) FROM (FROM beside EXCEPT ALL FROM inside))"""
    count, only_inside, only_beside = connection.execute(query).fetchone()
    assert count > 0 and only_inside == 0 and only_beside == 0, (
        f"{only_inside} hops only in path, {only_beside} only in hop, of {count}"
    )
    return f"{count} hops"
