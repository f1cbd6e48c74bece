"""`store`: Redis, filled with items, and its own word (MONITOR) on who asked it.

MONITOR is read over a unix socket, so the pod has no TCP traffic but the shop's.
"""

import os
import re
import subprocess
import time
from pathlib import Path

import redis

from . import contract
from .contract import ITEMS, STORE_PORT
from .truth import TruthLog

MONITORED = re.compile(r"^(\d+)\.(\d{6}) \[\d+ (\d[\d.]*:\d+)\] \"GET\"", re.IGNORECASE)


def start(folder: str) -> redis.Redis:
    path = os.path.join(folder, "redis.sock")
    config = f"""
bind 0.0.0.0
protected-mode no
port {STORE_PORT}
unixsocket {path}
save ""
appendonly no
dir {folder}
"""
    Path(folder, "redis.conf").write_text(config)
    subprocess.Popen(["redis-server", os.path.join(folder, "redis.conf")])
    client = redis.Redis(unix_socket_path=path, decode_responses=True)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            client.ping()
            return client
        except redis.ConnectionError:
            time.sleep(0.05)
    raise TimeoutError("redis-server did not start")


def main() -> None:
    truth = TruthLog()
    local = f"{os.environ['POD_IP']}:{STORE_PORT}"
    client = start(os.environ[contract.FOLDER])
    marker = os.environ[contract.MARKER]
    for number in range(ITEMS):
        client.set(f"item:{number}", f"{marker} {'#' * (number * 7)}")
    with client.monitor() as monitor:
        while True:
            line = monitor.connection.read_response()
            if match := MONITORED.match(line):
                seconds, micros, remote = match.groups()
                time_ns = int(seconds) * 10**9 + int(micros) * 1000
                truth.write("store", local=local, remote=remote, time_ns=time_ns)


if __name__ == "__main__":
    main()
