"""Runs named checks, says how each went, and counts. A check fails by raising anything."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable


class LeftOut(Exception):
    """Raised by a check that cannot be done here; says why, and what would make it possible."""


class Report:
    def __init__(self, only: list[str]):
        self.passed = 0
        self.failed: list[str] = []
        self.left_out = 0
        self._only = only
        self._begin = time.monotonic()

    def wants(self, *names: str) -> bool:
        """Whether any of these checks is asked for; a group asks before it starts anything."""
        return not self._only or any(word in name for name in names for word in self._only)

    def check(self, name: str, body: Callable[[], str | None]) -> None:
        """Runs one check. What it returns is said beside its name."""
        if not self.wants(name):
            return
        begin = time.monotonic()
        try:
            remark = body()
        except LeftOut as why:
            self.left_out += 1
            self.say(f"left out {name}: {why}")
            return
        except Exception as error:
            self.failed.append(name)
            self.say(f"FAILED {name}: {error}")
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            return
        self.passed += 1
        seconds = time.monotonic() - begin
        self.say(f"ok     {name} ({seconds:.1f} s)" + (f": {remark}" if remark else ""))

    def broken(self, names: list[str], error: Exception) -> None:
        """What a group needs could not be made, so all that is asked for of it has failed."""
        traceback.print_exception(error)
        for name in names:
            if self.wants(name):
                self.failed.append(name)
                self.say(f"FAILED {name}: its group did not start: {error}")

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self._begin:6.1f} s] {line}", flush=True)

    def close(self) -> int:
        for name in self.failed:
            print(f"failed: {name}")
        skipped = f", {self.left_out} skipped" if self.left_out else ""
        print(f"{self.passed} passed, {len(self.failed)} failed{skipped}", flush=True)
        return 1 if self.failed or not self.passed else 0
