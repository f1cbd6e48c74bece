"""Which files a table consists of: commits, removals, checkpoints."""

import json
import tempfile
import unittest
from pathlib import Path

import duckdb

from score.sim import delta


class Log(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.table = Path(self.folder.name)
        self.log = self.table / "_delta_log"
        self.log.mkdir()
        self.connection = duckdb.connect()
        self.addCleanup(self.connection.close)

    def commit(self, version: int, *actions: dict) -> None:
        lines = "".join(json.dumps(action) + "\n" for action in actions)
        (self.log / f"{version:020d}.json").write_text(lines)
        for action in actions:
            if "add" in action:
                (self.table / action["add"]["path"]).touch()

    def check(self, current: list[str], replaced: list[str]) -> None:
        found = delta.files(self.connection, self.table)
        self.assertEqual([Path(path).name for path in found.current], current)
        self.assertEqual([Path(path).name for path in found.replaced], replaced)

    def test_file_that_a_commit_removes_is_replaced(self):
        self.commit(0, {"protocol": {}}, {"add": {"path": "a"}}, {"add": {"path": "b"}})
        self.commit(1, {"remove": {"path": "a"}}, {"add": {"path": "c"}})
        self.check(["b", "c"], ["a"])

    def test_replaced_file_that_a_vacuum_took_is_gone(self):
        self.commit(0, {"add": {"path": "a"}})
        self.commit(1, {"remove": {"path": "a"}})
        (self.table / "a").unlink()
        self.check([], [])

    def test_checkpoint_stands_for_the_commits_before_it(self):
        self.commit(2, {"remove": {"path": "a"}}, {"add": {"path": "c"}})
        checkpoint = self.log / f"{1:020d}.checkpoint.parquet"
        self.connection.execute(
            f"""COPY (SELECT {{'path': path}} AS add FROM (VALUES ('a'), ('b'), (NULL)) t(path))
            TO '{checkpoint}' (FORMAT parquet)"""
        )
        (self.log / "_last_checkpoint").write_text(json.dumps({"version": 1}))
        self.check(["b", "c"], [])

    def test_table_without_files_has_no_rows(self):
        self.commit(0, {"protocol": {}})
        rows = delta.relation(delta.files(self.connection, self.table).current, {"a": "BIGINT"})
        self.assertEqual(self.connection.execute(f"SELECT a FROM {rows}").fetchall(), [])


if __name__ == "__main__":
    unittest.main()
