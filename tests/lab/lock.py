"""One lab a machine: its addresses are fixed. The lock ends with its owner, so a crash frees it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from .constants import STATE_DIR

WAIT_SECONDS = 900
LOCK_FILE = STATE_DIR / "lock"
STATE_FILE = STATE_DIR / "state.json"


class LabLock:
    def __init__(self):
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self, progress: Callable[[str], None]) -> None:
        """Waits for the lab of another process to end."""
        STATE_DIR.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + WAIT_SECONDS
        told = False
        while not _try_lock(descriptor):
            if not told:
                progress(f"lab: waiting for the lab of process {read_state().get('pid')} to end")
                told = True
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise TimeoutError("another lab is still running")
            time.sleep(0.5)
        self._descriptor = descriptor

    def release(self) -> None:
        os.close(self._descriptor)
        self._descriptor = None


def owner() -> int | None:
    """The process that runs a lab now."""
    try:
        descriptor = os.open(LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(descriptor) else read_state().get("pid")
    finally:
        os.close(descriptor)


def write_state(mode: str, workdir: Path) -> None:
    state = {"pid": os.getpid(), "mode": mode, "workdir": str(workdir), "started": time.time()}
    STATE_FILE.write_text(json.dumps(state))


def read_state() -> dict:
    try:
        return json.loads(STATE_FILE.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def remove_state() -> None:
    STATE_FILE.unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
