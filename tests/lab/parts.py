"""Where the real parts are: what `tests/parts/setup.sh` has fetched and built, and our own binaries."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class PartsMissing(RuntimeError):
    def __init__(self, what: str):
        super().__init__(f"{what} is missing; run tests/parts/setup.sh as root first")


@dataclass(frozen=True)
class Parts:
    etcd: Path
    kubernetes: Path
    """The directory of kube-apiserver, kube-controller-manager and kube-proxy."""
    python: Path
    """The interpreter of the virtual environment with the OpenTelemetry SDK."""

    @staticmethod
    def locate() -> Parts:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        listing = Path(home) / "throughline" / "parts.env"
        if not listing.exists():
            raise PartsMissing(str(listing))
        values = dict(
            line.split("=", 1) for line in listing.read_text().splitlines() if "=" in line
        )
        parts = Parts(
            Path(values["THROUGHLINE_ETCD"]),
            Path(values["THROUGHLINE_KUBERNETES"]),
            Path(values["THROUGHLINE_PYTHON"]),
        )
        for path in (parts.etcd, parts.kubernetes / "kube-apiserver", parts.python):
            if not path.exists():
                raise PartsMissing(str(path))
        return parts


def binary(name: str) -> Path:
    """One of the product's programs, from a debug build unless THROUGHLINE_BIN_DIR says where."""
    directory = os.environ.get("THROUGHLINE_BIN_DIR") or REPOSITORY / "target" / "debug"
    path = Path(directory) / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; build the workspace first (cargo build)")
    return path
