"""Drives requests through the shop and kills a backend in the middle of one of them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from . import contract

SETTLE_SECONDS = 2.5
"""Longer than the exporters' delay: only spans of the killed request may die with its pod."""

CLIENT_GRACE_SECONDS = 90


@dataclass
class Driven:
    """What was sent."""

    requests: int
    start_ns: int
    end_ns: int
    marker: str
    """The word that stands for everything private."""
    killed_request: int | None = None
    killed_pod: str | None = None
    replacement_pod: str | None = None


def drive(shop, requests: int, rate: float, kill: bool) -> Driven:
    driven = Driven(requests, time.time_ns(), 0, shop.marker)
    if kill:
        # A request for a product: the kind that can be held.
        before = requests // 20 * 10
        send(shop, 0, before, rate)
        kill_backend_of(shop, before, driven)
        send(shop, before + 1, requests - before - 1, rate)
    else:
        send(shop, 0, requests, rate)
    driven.end_ns = time.time_ns()
    return driven


def send(shop, first: int, count: int, rate: float) -> None:
    """Sends a run of requests and waits until all were answered, saying how far it is."""
    if count <= 0:
        return
    client = start_client(shop, first, count, rate)
    seconds_max = count / rate + CLIENT_GRACE_SECONDS
    deadline = time.monotonic() + seconds_max
    said = time.monotonic()
    while client.running:
        if time.monotonic() > deadline:
            client.kill9()
            raise TimeoutError(f"the client did not end within {seconds_max:.0f} s")
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            shop.cluster.progress(f"shop: {answered(shop.truth)} requests answered")
        time.sleep(0.1)
    if status := client.wait(1):
        raise RuntimeError(f"the client ended with status {status}; see {client.log}")


def start_client(shop, first: int, count: int, rate: float, hold: bool = False):
    argv = [shop.cluster.python, "-m", "lab.shop.client"]
    argv += ["--first", str(first), "--count", str(count), "--rate", str(rate)]
    environment = {
        "PYTHONPATH": shop.environment("client-0")["PYTHONPATH"],
        contract.TRUTH_FILE: str(shop.truth),
        contract.MARKER: shop.marker,
    }
    return shop.cluster.client_start("client", argv + (["--hold"] if hold else []), env=environment)


def kill_backend_of(shop, number: int, driven: Driven) -> None:
    """Sends one request that its cart holds, kills that cart, and starts another in its place.

    Other traffic rests meanwhile, so that exactly this request is the one that was broken.
    """
    time.sleep(SETTLE_SECONDS)
    client = start_client(shop, number, 1, 1, hold=True)
    # The held call has begun its own work when its first call was answered.
    shop.cluster.wait_until(
        "the cart to hold the request", lambda: holder_of(shop.truth, number) is not None, 20
    )
    pod = holder_of(shop.truth, number)
    node = shop.cluster.pods[pod].node
    shop.cluster.progress(f"shop: killing {pod} while it serves request {number}")
    shop.cluster.kill_pod(pod)
    client.wait(CLIENT_GRACE_SECONDS)
    replacement = f"cart-{2 + len(shop.replaced)}"
    shop.replaced.append(pod)
    shop.start(replacement, node, contract.HTTP_PORT, wait=True)
    shop.wait_programmed()
    driven.killed_request, driven.killed_pod, driven.replacement_pod = number, pod, replacement


def holder_of(path: Path, number: int) -> str | None:
    """The cart pod whose call for a price, made for this request, was answered."""
    for line in lines(path):
        is_of_request = line["kind"] == "client" and line["call"].startswith(f"{number}/")
        if is_of_request and line["service"] == "price":
            return line["pod"]
    return None


def answered(path: Path) -> int:
    return sum(line["kind"] == "client" and line["pod"] == "client" for line in lines(path))


def lines(path: Path):
    """The whole lines of the truth file; the last one may still be on its way."""
    for line in Path(path).read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)
