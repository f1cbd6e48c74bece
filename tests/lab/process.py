"""Processes of the lab: started inside a namespace (and a cgroup), logged to a file, ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import netns

BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "NO_COLOR": "1",
}
"""Processes do not inherit the caller's environment: a run must not depend on who started it."""

ENTER_CGROUP = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
"""The shell moves itself before it becomes the program, so no event is seen outside the cgroup."""


class Process:
    """One started program. All of its children end with it only when a cgroup holds them."""

    def __init__(self, name: str, popen: subprocess.Popen, log: Path, log_start: int):
        self.name = name
        self.log = log
        self._popen = popen
        self._log_start = log_start

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def output(self) -> str:
        """What it has printed, without that of earlier processes of its name."""
        return self.log.read_bytes()[self._log_start :].decode(errors="replace")

    def require_running(self) -> None:
        if not self.running:
            tail = self.output()[-1500:]
            raise RuntimeError(
                f"{self.name} ended with status {self._popen.returncode}; end of {self.log}:\n{tail}"
            )

    def signal(self, number: int) -> None:
        if self.running:
            self._popen.send_signal(number)

    def kill9(self) -> None:
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def stop(self, seconds: float = 10) -> int:
        """SIGTERM, and SIGKILL when it takes longer than `seconds`. Returns the exit status, which
        is negative when a signal ended it."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()
            return self._popen.returncode


def spawn_in_netns(
    name: str,
    argv: Sequence[str],
    namespace: str,
    logs: Path,
    env: Mapping[str, str] | None = None,
    cgroup: Path | None = None,
    cwd: Path | None = None,
) -> Process:
    """Starts `argv` inside the network namespace; its output is appended to `logs/<name>.log`."""
    enter = ["/bin/sh", "-c", ENTER_CGROUP, str(cgroup)] if cgroup else []
    log = logs / f"{name}.log"
    with log.open("ab") as output:
        log_start = output.tell()
        popen = subprocess.Popen(
            [*netns.prefix(namespace), *enter, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**BASE_ENVIRONMENT, **{k: str(v) for k, v in (env or {}).items()}},
            cwd=cwd or os.fspath(logs),
            start_new_session=True,
        )
    return Process(name, popen, log, log_start)
