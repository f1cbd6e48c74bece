"""The lab from a shell:

    python3 -m lab up [--mode nftables] [--untraced] [--product]   leaves it running until Ctrl-C
    python3 -m lab run --mode iptables --out DIR [...]             one measured run
    python3 -m lab demo [--keep]                                   what `make demo` does
    python3 -m lab status | down
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import cleanup, demo, lock
from .cluster import Cluster
from .constants import CLIENT, EDGE_NODE, NETNS_DIR, NODE_IPS, NODE_PORT
from .parts import binary
from .run import RunSettings, measure, runs_directory
from .shop import deploy


def main() -> int:
    # A stop from outside unwinds like Ctrl-C does, so that the lab is torn down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A shell starts background commands with Ctrl-C ignored; `down` and scripts need it to work.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = arguments().parse_args()
    try:
        return options.verb(options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="A cluster of namespaces.")
    verbs = parser.add_subparsers(required=True)

    verb = verbs.add_parser("up", help="leave a lab running until Ctrl-C")
    verb.set_defaults(verb=up)
    add_mode(verb)
    verb.add_argument("--product", action="store_true", help="start agents, collector, correlator")
    verb.add_argument("--out", type=Path, help="folder of tables and logs (a new temporary one)")

    verb = verbs.add_parser("run", help="one measured run")
    verb.set_defaults(verb=run)
    add_mode(verb)
    verb.add_argument("--out", type=Path, help="folder of the run (target/runs/NAME)")
    verb.add_argument("--requests", type=int, default=1000)
    verb.add_argument("--rate", type=float, default=20.0, help="requests a second")
    verb.add_argument("--no-kill", action="store_true", help="leave all backends alive")
    verb.add_argument("--provisional", action="store_true", help="do not wait for final rows")

    verb = verbs.add_parser("demo", help="1,000 requests, three paths, the score")
    verb.set_defaults(verb=lambda options: demo.show(options.keep))
    verb.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")

    verbs.add_parser("status", help="say whether a lab runs").set_defaults(verb=status)
    verbs.add_parser("down", help="end a lab and remove all of it").set_defaults(verb=down)
    return parser


def add_mode(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--mode", choices=("iptables", "nftables"), default="iptables")
    verb.add_argument("--untraced", action="store_true", help="no spans, no passed-on request id")


def up(options: argparse.Namespace) -> int:
    out = options.out or Path(tempfile.mkdtemp(prefix="throughline-lab-"))
    with Cluster(options.mode, out, progress=say) as cluster:
        if options.product:
            say("lab: starting collector, agents and correlator")
            cluster.product.start()
        say("lab: starting the shop")
        deploy(cluster, not options.untraced, out / "truth.jsonl")
        say(f"lab: up; its tables and logs are below {out}")
        say(f"lab: to send a request: {send_line()}")
        if options.product:
            say(f"lab: to see its path: {binary('throughline')} paths --tables {out / 'tables'}")
        say("lab: Ctrl-C removes all of it")
        while True:
            signal.pause()


def send_line() -> str:
    url = f"http://{NODE_IPS[EDGE_NODE]}:{NODE_PORT}/products/1"
    return f"nsenter --net={NETNS_DIR / CLIENT} curl -i {url}"


def run(options: argparse.Namespace) -> int:
    settings = RunSettings(
        options.mode,
        not options.untraced,
        options.requests,
        options.rate,
        not options.no_kill,
        not options.provisional,
    )
    out = options.out or runs_directory() / settings.name
    finished = measure(settings, out, say)
    say(f"lab: run {finished.name} is in {finished.out}")
    return 0


def status(_: argparse.Namespace) -> int:
    pid = lock.owner()
    if pid is None:
        leftovers = cleanup.own_namespaces()
        print(f"no lab runs; {len(leftovers)} namespaces of a crashed one are left")
        return 0
    state = lock.read_state()
    minutes = (time.time() - state["started"]) / 60
    print(f"process {pid} has run a lab ({state['mode']}) for {minutes:.0f} min: {state['workdir']}")
    return 0


def down(_: argparse.Namespace) -> int:
    """Asks the owner to end its lab; what a crashed owner left is removed here."""
    pid = lock.owner()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    held = lock.LabLock()
    held.acquire(say)
    try:
        cleanup.remove_leftovers()
        lock.remove_state()
    finally:
        held.release()
    print("no lab is left")
    return 0


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
