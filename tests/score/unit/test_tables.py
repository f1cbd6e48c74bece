import json
import tempfile
import unittest
from pathlib import Path

from score import tables

HOP = """{'position': 0, 'parent': NULL::INT, 'kind': 'edge', 'attempt': 1,
 'source_pod': NULL::VARCHAR, 'source_node': NULL::VARCHAR, 'source_ip': 'ext-00ff',
 'source_port': 41000,
 'requested_ip': '10.89.0.11', 'requested_port': 30080, 'service': 'ingress',
 'destination_pod': 'ingress-0', 'destination_node': 'node-2', 'destination_ip': '10.244.2.6',
 'destination_port': 8080, 'nat': 'dnat+snat', 'nat_node': 'node-1',
 'nat_original': 'ext-00ff:41000->10.89.0.11:30080', 'nat_reply': '10.244.2.6:8080->10.89.0.11:5',
 'start_ns': 1::BIGINT, 'end_ns': 2::BIGINT}"""


class Tables(unittest.TestCase):
    """A Delta table made by hand: two commits, the second replaces a provisional row."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tables = Path(folder.name)
        self.connection = tables.connect()
        (self.tables / "path" / "_delta_log").mkdir(parents=True)
        self.commit(0, 1000, [self.file("p.parquet", "a", "P", "partial")], [])
        self.commit(1, 9000, [self.file("f.parquet", "a", "F", "complete")], ["p.parquet"])

    def file(self, name: str, path_id: str, stage: str, verdict: str) -> str:
        finality = "final" if stage == "F" else "provisional"
        self.connection.execute(
            f"""COPY (SELECT '{path_id}' path_id, 'r' request_id, '{stage}' stage, 0 revision,
            10::BIGINT win, '{finality}' finality, '{verdict}' verdict, []::VARCHAR[] reasons,
            []::VARCHAR[] missing, 1::BIGINT start_ns, 2::BIGINT end_ns, [{HOP}] hops)
            TO '{self.tables / "path" / name}' (FORMAT parquet)"""
        )
        return name

    def commit(self, version: int, ms: int, added: list[str], removed: list[str]) -> None:
        parquet = self.tables / "path" / added[0]
        actions = [{"commitInfo": {"timestamp": ms, "operation": "WRITE"}}]
        if version == 0:
            actions.append({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}})
            actions.append({"metaData": {
                "id": "00000000-0000-0000-0000-000000000000",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(schema(self.connection, parquet)),
                "partitionColumns": [], "configuration": {}, "createdTime": 0}})  # fmt: skip
        for name in added:
            size = (self.tables / "path" / name).stat().st_size
            actions.append({"add": {"path": name, "partitionValues": {}, "size": size,
                                    "modificationTime": ms, "dataChange": True}})  # fmt: skip
        for name in removed:
            actions.append({"remove": {"path": name, "deletionTimestamp": ms, "dataChange": True}})
        log = self.tables / "path" / "_delta_log" / f"{version:020}.json"
        log.write_text("\n".join(json.dumps(action) for action in actions) + "\n")

    def test_current_row_is_the_final_one_with_tokens_as_the_truth_writes_them(self):
        (path,) = tables.current_paths(self.connection, self.tables)
        self.assertEqual((path.path_id, path.verdict), ("a", "complete"))
        (hop,) = path.hops
        self.assertEqual(hop.source, "ext:41000")
        self.assertEqual(hop.nat_original, "ext:41000->10.89.0.11:30080")
        self.assertEqual(hop.destination, "10.244.2.6:8080")

    def test_path_was_first_readable_with_the_commit_of_its_provisional_row(self):
        self.assertEqual(
            tables.first_commits(self.connection, self.tables), {"a": 1000 * 1_000_000}
        )


def schema(connection, parquet: Path) -> dict:
    described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{parquet}')").fetchall()
    return struct((row[0], row[1]) for row in described)


def struct(columns) -> dict:
    fields = [
        {"name": name, "type": delta_type(kind), "nullable": True, "metadata": {}}
        for name, kind in columns
    ]
    return {"type": "struct", "fields": fields}


def delta_type(kind: str):
    if kind.endswith("[]"):
        return {"type": "array", "elementType": delta_type(kind[:-2]), "containsNull": True}
    if kind.startswith("STRUCT("):
        pairs = [pair.strip().split(" ", 1) for pair in kind[7:-1].split(",")]
        return struct((name.strip('"'), inner) for name, inner in pairs)
    return {"VARCHAR": "string", "INTEGER": "integer", "BIGINT": "long"}[kind]
