"""`make demo`: the whole line once, for someone who has just built it. It drives 1,000 requests
through a cluster with the product beside them and shows what the product says about three of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import run
from .cluster import Cluster
from .parts import REPOSITORY, Parts, binary
from .shop import Driven

ANSWERED, ANSWERED_INCOMPLETELY = 0, 4
"""Exit codes of `throughline path`: a line whose backend was killed may lack that backend's part."""

SETTINGS = run.RunSettings(mode="iptables", traced=True, requests=1000, rate=40.0)


def show(keep: bool) -> int:
    clock = Clock()
    out = run.runs_directory() / SETTINGS.name
    run.prepare(out)
    with Cluster(SETTINGS.mode, out, progress=clock.say) as cluster:
        driven = run.drive(cluster, SETTINGS)
        run.wait_for_paths(cluster, driven, SETTINGS.until_final)
        cluster.product.require_running()
        run.record(cluster, SETTINGS, driven)
        complete = show_paths(out, driven) & show_score(out)
        if keep:
            show_next(out)
            clock.say("demo: the lab stays until Ctrl-C (KEEP=1)")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
        clock.say("demo: stopping the product and removing the cluster")
    if not keep:
        show_next(out)
    clock.say("demo: done")
    return 0 if complete else 1


class Clock:
    """Puts the seconds since the start before each line of progress."""

    def __init__(self):
        self._start = time.monotonic()

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self._start:5.1f} s] {line}", flush=True)


def show_paths(out: Path, driven: Driven) -> bool:
    """Prints three paths as the CLI draws them; whether each was found."""
    found = True
    for title, request_id in chosen_requests(out / "truth.jsonl", driven.killed_request):
        print(f"\n=== {title}", flush=True)
        command = [str(binary("throughline")), "path", request_id, "--tables", str(out / "tables")]
        print(f"$ {relative(command)}", flush=True)
        found &= subprocess.run(command).returncode in (ANSWERED, ANSWERED_INCOMPLETELY)
    print(flush=True)
    return found


def chosen_requests(truth: Path, killed: int | None) -> list[tuple[str, str]]:
    """Titles and request ids: a normal request, one whose cart called itself and was answered by
    the same pod, and the one whose backend was killed."""
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    ids = {
        line["call"]: line["request_id"]
        for line in lines
        if line["kind"] == "client" and line.get("request_id")
    }
    hairpins = {request_of(call) for call in self_calls(lines)}
    plain = next(call for call in ids if call not in hairpins and call != str(killed))
    through_hairpin = next(call for call in ids if call in hairpins and call != str(killed))
    chosen = [
        ("a request, from outside to the last pod", ids[plain]),
        ("a request whose cart calls itself through its own Service (hairpin)", ids[through_hairpin]),
    ]
    if killed is not None:
        chosen.append(("a request whose backend was killed while serving it", ids[str(killed)]))
    return chosen


def self_calls(lines: list[dict]) -> Iterator[str]:
    """Names of calls whose two sides were written by the same pod."""
    servers = {line["call"]: line["pod"] for line in lines if line["kind"] == "server"}
    for line in lines:
        if line["kind"] == "client" and servers.get(line["call"]) == line["pod"]:
            yield line["call"]


def request_of(call: str) -> str:
    return call.split("/", 1)[0]


def show_score(out: Path) -> bool:
    """Prints the scorer's line, which compares the tables with what really happened."""
    print("=== the tables against the truth", flush=True)
    command = [str(Parts.locate().python), "-m", "score", str(out)]
    scored = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}, stdout=sys.stdout
    )
    return scored.returncode == 0


def show_next(out: Path) -> None:
    tables = ["--tables", str(out / "tables")]
    program = str(binary("throughline"))
    print(f"\nThe tables are Delta tables below {relative([str(out / 'tables')])}. Next, for example:")
    for line in (
        [program, "paths", "--service", "shop/cart", *tables],
        [program, "paths", "--verdict", "failed", "-o", "json", *tables],
        [program, "doctor", *tables],
    ):
        print(f"  {relative(line)}")
    print("  make score", flush=True)


def relative(command: list[str]) -> str:
    """A command as someone in the repository would type it."""
    return shlex.join(command).replace(f"{REPOSITORY}/", "")
