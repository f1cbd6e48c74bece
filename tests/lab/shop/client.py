"""The outside client: sends numbered requests at a steady rate and remembers what became of them.

    python3 -m lab.shop.client --first 0 --count 500 --rate 20 [--hold]

Open loop: a request is due at its time whether or not earlier ones were answered; a fixed number of
threads bounds how many are open. It ends after the last answer.
"""

import argparse
import http.client
import os
import queue
import threading
import time
import uuid

from .. import constants
from . import contract
from .truth import DROP_HEADER, HEADER, HOLD_HEADER, TruthLog, socket_ends

THREADS = 16
REQUESTS_PER_CONNECTION_MAX = 25
TIMEOUT_S = 60
RETRIED_EVERY, RETRIED_IN_A_ROW = 50, 4
"""The ingress takes turns, so that of a few requests in a row about half meet the frontend that
hangs up, and are tried again at the other one."""
ADDRESS = (constants.NODE_IPS[constants.EDGE_NODE], constants.NODE_PORT)


def request_of(number: int, marker: str) -> tuple[str, str, str | None]:
    """Method, path and body of a request: half look at a product, the rest at stock or pay."""
    if number % 10 < 5:
        return "GET", f"/products/{number}?session={marker}", None
    if number % 10 < 8:
        return "GET", f"/stock/{number}", None
    return "POST", f"/checkout/{marker}", f'{{"card": "{marker}"}}'


def headers_of(number: int, request_id: str | None, marker: str, hold: bool) -> dict[str, str]:
    headers = {
        HEADER: str(number),
        "Cookie": f"session={marker}",
        "Authorization": f"Bearer {marker}",
        "Referer": f"http://shop.example/?from={marker}",
        "User-Agent": f"shop-client/1.0 ({marker})",
        "X-Customer": marker,
        "Content-Type": "application/json",
    }
    if request_id:
        headers["X-Request-ID"] = request_id
    if hold:
        headers[HOLD_HEADER] = "1"
    elif number % RETRIED_EVERY < RETRIED_IN_A_ROW:
        headers[DROP_HEADER] = "frontend-0"
    return headers


class Worker(threading.Thread):
    """Sends requests over one kept connection, renewed now and then."""

    def __init__(self, numbers: queue.Queue, truth: TruthLog, marker: str, hold: bool):
        super().__init__(daemon=True)
        self.numbers = numbers
        self.truth = truth
        self.marker = marker
        self.hold = hold
        self.connection = None
        self.sent = 0

    def run(self):
        while (number := self.numbers.get()) is not None:
            self.send(number)

    def send(self, number: int) -> None:
        # Every tenth leaves the id to the ingress, as most clients do.
        request_id = None if number % 10 == 9 else str(uuid.uuid4())
        method, path, body = request_of(number, self.marker)
        ends = None
        start_ns = time.time_ns()
        try:
            connection = self.connected()
            ends = socket_ends(connection.sock)
            start_ns = time.time_ns()
            connection.request(
                method, path, body, headers_of(number, request_id, self.marker, self.hold)
            )
            response = connection.getresponse()
            response.read()
            outcome = str(response.status)
            if response.will_close:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error).__name__
            self.close()
        self.truth.client(str(number), "ingress", ends, start_ns, outcome, request_id=request_id)

    def connected(self) -> http.client.HTTPConnection:
        if self.sent >= REQUESTS_PER_CONNECTION_MAX:
            self.close()
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*ADDRESS, timeout=TIMEOUT_S)
            self.connection.connect()
        self.sent += 1
        return self.connection

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.sent = 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--hold", action="store_true")
    options = parser.parse_args()

    numbers = queue.Queue()
    truth = TruthLog(pod="client")
    marker = os.environ[contract.MARKER]
    threads = min(THREADS, options.count)
    workers = [Worker(numbers, truth, marker, options.hold) for _ in range(threads)]
    for worker in workers:
        worker.start()
    begin = time.monotonic()
    for index in range(options.count):
        time.sleep(max(0.0, begin + index / options.rate - time.monotonic()))
        numbers.put(options.first + index)
    for _ in workers:
        numbers.put(None)
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
