"""Removes what a lab has made, after a normal end or a crash. Everything that the lab starts lives
in one of its namespaces or cgroups, so these are enough to find it all; nothing else is touched."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from . import cgroup, netns
from .constants import NETNS_DIR

OWN_NAMESPACE = re.compile(r"tl-(net|control|collector|client|node-\d+|pod-.+)")
KILL_SECONDS = 5


def remove_leftovers() -> None:
    cgroup.remove_tree()
    namespaces = own_namespaces()
    kill_processes_in(namespaces)
    for name in namespaces:
        netns.delete(name)


def own_namespaces() -> list[str]:
    if not NETNS_DIR.is_dir():
        return []
    return [path.name for path in NETNS_DIR.iterdir() if OWN_NAMESPACE.fullmatch(path.name)]


def kill_processes_in(namespaces: list[str]) -> None:
    deadline = time.monotonic() + KILL_SECONDS
    while pids := processes_in(namespaces):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} of the lab do not end")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def processes_in(namespaces: list[str]) -> list[int]:
    """Processes whose network namespace is one of these; zombies have none any more."""
    inodes = {(NETNS_DIR / name).stat().st_ino for name in namespaces}
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                inode = (process / "ns/net").stat().st_ino
            except OSError:
                continue
            if inode in inodes:
                found.append(int(process.name))
    return found
