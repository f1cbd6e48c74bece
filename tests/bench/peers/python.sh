#!/usr/bin/env bash
# Makes the virtual environment of the peers from requirements.txt, whose checksums pip verifies. Its
# name carries the hash of that file. Prints the interpreter's path.
set -euo pipefail

requirements="$(cd "$(dirname "$0")" && pwd)/requirements.txt"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/throughline"
out="$cache/peers-$(sha256sum "$requirements" | cut -c1-16)"
if [ ! -e "$out/complete" ]; then
    echo "fetching DuckDB and DataFusion for Python (120 MB, once)" >&2
    rm -rf "$out"
    python3 -m venv "$out"
    "$out/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$requirements" >&2
    touch "$out/complete"
fi
echo "$out/bin/python"
