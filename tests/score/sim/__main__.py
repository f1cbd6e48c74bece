"""The command line of the scorer; see the package."""

import argparse
import json
import sys
from pathlib import Path

from .line import score


def main() -> int:
    parser = argparse.ArgumentParser(prog="score.sim", description="Scores simulated runs.")
    parser.add_argument("out", nargs="+", type=Path, help="folder with `tables` and `truth`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--explain", type=int, default=0, metavar="N", help="show N wrong hops")
    options = parser.parse_args()
    for out in options.out:
        result = score(out, options.threads, options.explain)
        print(result.line(), flush=True)
        for sample in result.samples:
            print(json.dumps(sample, default=str), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
