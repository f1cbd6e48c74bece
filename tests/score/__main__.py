"""The command line of the scorer; see the package."""

import argparse
import sys
from pathlib import Path

from .line import score


def main() -> int:
    parser = argparse.ArgumentParser(prog="score", description="Compares runs with their truth.")
    parser.add_argument("out", nargs="+", type=Path, help="output folder of a run")
    parser.add_argument(
        "--explain", type=int, default=0, metavar="N", help="say what is wrong in N paths"
    )
    parser.add_argument(
        "--last", action="store_true", help="print the line of the last scoring, read no tables"
    )
    options = parser.parse_args()
    for out in options.out:
        if options.last:
            print((out / "score.json").read_text(), end="")
            continue
        result = score(out)
        print(result.line(), flush=True)
        for remark in result.worst(options.explain):
            print(f"  {remark}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
