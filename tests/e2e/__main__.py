"""The command line of the end-to-end checks; see the package."""

import argparse
import sys

from . import groups, units
from .report import Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="e2e", description="End-to-end checks in the lab.")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="checks whose name holds WORD"
    )
    options = parser.parse_args()
    report = Report(options.only)
    units.run(report)
    for mode in ("iptables", "nftables"):
        for traced in (True, False):
            groups.scored(report, mode, traced)
    groups.troubled(report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
