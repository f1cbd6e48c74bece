import base64
import tempfile
import unittest
from pathlib import Path

import duckdb

from e2e.canary import Marker, sweep, written

WORD = "tlmarkerQwErTyUiOpAsDfGhJkLzXcVb"


class Canary(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)
        (self.out / "tables" / "path").mkdir(parents=True)
        (self.out / "logs").mkdir()
        self.marker = Marker(WORD)

    def check(self, *forms: str):
        hits, looked_at = sweep(written(duckdb.connect(), self.out), self.marker)
        self.assertEqual(sorted(hit.rsplit(": ", 1)[1] for hit in hits), sorted(forms))
        self.assertGreater(looked_at, 0)

    def test_word_is_found_in_each_form(self):
        for form, content in {
            "raw": f"a{WORD}b".encode(),
            "hex": WORD.encode().hex().encode(),
            "HEX": WORD.encode().hex().upper().encode(),
            "utf-16": WORD.encode("utf-16-le"),
        }.items():
            (self.out / "logs" / "collector.log").write_bytes(content)
            self.check(form)

    def test_word_is_found_in_base64_wherever_it_begins(self):
        for before in (b"", b"x", b"xy", b"xyz"):
            content = base64.b64encode(before + WORD.encode() + b"and more")
            (self.out / "logs" / "agent-node-1.log").write_bytes(content)
            self.check(f"base64+{len(before) % 3}")

    def test_word_is_found_inside_of_a_compressed_column(self):
        file = self.out / "tables" / "path" / "a.parquet"
        duckdb.execute(
            f"COPY (SELECT [struct_pack(v := '{WORD}')] AS c FROM range(3)) "
            f"TO '{file}' (FORMAT parquet, COMPRESSION zstd)"
        )
        hits, _ = sweep(written(duckdb.connect(), self.out), self.marker)
        self.assertIn("tables/path/a.parquet decompressed: raw", hits)

    def test_other_words_are_not_found(self):
        (self.out / "logs" / "correlator.log").write_bytes(WORD[:-1].encode())
        self.check()

    def test_logs_of_the_shop_are_not_the_products(self):
        (self.out / "logs" / "ingress-0.log").write_bytes(WORD.encode())
        (self.out / "logs" / "collector.log").write_bytes(b"quiet")
        self.check()
