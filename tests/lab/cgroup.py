"""The lab's part of the cgroup v2 tree: <mount>/tl-lab/<node>/pod<uid>/."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from .constants import CGROUP_TREE, STATE_DIR

OWN_MOUNT = STATE_DIR / "cgroup2"
REMOVE_SECONDS = 5


def mount_point() -> Path:
    """Where cgroup v2 is mounted; the lab mounts it itself on a machine that has v1 only."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] == "cgroup2":
            return Path(before.split()[4])
    OWN_MOUNT.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "cgroup2", "none", str(OWN_MOUNT)], check=True)
    return OWN_MOUNT


def tree() -> Path:
    return mount_point() / CGROUP_TREE


def node_root(node: str) -> Path:
    """What a node's agent gets as --cgroup-root."""
    return tree() / node


def create_node(node: str) -> None:
    node_root(node).mkdir(parents=True)


def create_pod(node: str, uid: str) -> Path:
    group = node_root(node) / f"pod{uid}"
    group.mkdir()
    return group


def kill(group: Path) -> None:
    """SIGKILL to every process below, at once and also to those that are being forked."""
    (group / "cgroup.kill").write_text("1")


def remove(group: Path) -> None:
    """Removes an emptied group with everything below it. A killed process leaves its group a moment
    after the kill."""
    deadline = time.monotonic() + REMOVE_SECONDS
    for directory in [*sorted(descendants(group), reverse=True), group]:
        while True:
            try:
                directory.rmdir()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def descendants(group: Path) -> list[Path]:
    return [path for path in group.rglob("*") if path.is_dir()]


def remove_tree() -> None:
    root = tree()
    if root.exists():
        kill(root)
        remove(root)
    if OWN_MOUNT.is_mount():
        subprocess.run(["umount", str(OWN_MOUNT)], check=True)
