"""Looks for the run's marker in every byte that the product wrote.

The shop plants the marker wherever a secret could be. It is looked for as it is, in base64 (at each
of the three alignments), in hex and in UTF-16; files as they are on disk, parquet columns
decompressed, what the commands print, and the spool while the run goes on, because it is trimmed
afterwards.
"""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.parts import binary

ALIGNMENTS = 3
PRODUCT_LOGS = ("agent-*.log", "collector.log", "correlator.log")
SPOOL_EVERY_S = 0.5
COMMAND_MAX_S = 60


class Marker:
    """The forms under which a word could be stored."""

    def __init__(self, word: str):
        plain = word.encode()
        self.forms = {
            "raw": plain,
            "hex": plain.hex().encode(),
            "HEX": plain.hex().upper().encode(),
            "utf-16": word.encode("utf-16-le"),
        }
        for shift in range(ALIGNMENTS):
            # The first and last characters mix with what stands beside the word.
            encoded = base64.b64encode(bytes(shift) + plain)
            self.forms[f"base64+{shift}"] = encoded[4 if shift else 0 : -4]

    def found_in(self, content: bytes) -> list[str]:
        return [name for name, form in self.forms.items() if form in content]


class SpoolWatch:
    """Reads the spool over and over in a thread of its own."""

    def __init__(self, spool: Path, marker: Marker):
        self.spool = spool
        self.marker = marker
        self.hits: list[str] = []
        self.bytes_seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> SpoolWatch:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SPOOL_EVERY_S):
            for path in files(self.spool):
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    continue
                self.bytes_seen += len(content)
                self.hits += [f"{path.name}: {form}" for form in self.marker.found_in(content)]


def sweep(contents: Iterable[tuple[str, bytes]], marker: Marker) -> tuple[list[str], int]:
    """Hits, and how many bytes were looked at."""
    hits, looked_at = [], 0
    for name, content in contents:
        looked_at += len(content)
        hits += [f"{name}: {form}" for form in marker.found_in(content)]
    return hits, looked_at


def written(connection, out: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the product, under its name; tables also decompressed."""
    for path in product_files(out):
        yield str(path.relative_to(out)), path.read_bytes()
        if path.suffix == ".parquet":
            as_text = f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{path}')"
            rows = connection.execute(as_text).fetchall()
            yield f"{path.relative_to(out)} decompressed", repr(rows).encode()


def product_files(out: Path) -> Iterable[Path]:
    yield from files(out / "tables")
    yield from files(out / "spool")
    for pattern in PRODUCT_LOGS:
        yield from sorted((out / "logs").glob(pattern))


def said(out: Path) -> Iterator[tuple[str, bytes]]:
    """What the product's own commands print about the run."""
    for verb in (["paths", "-o", "json"], ["ambiguous"], ["doctor"]):
        command = [str(binary("throughline")), *verb, "--tables", str(out / "tables")]
        done = subprocess.run(command, capture_output=True, timeout=COMMAND_MAX_S)
        yield f"output of {verb[0]}", done.stdout + done.stderr


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
