#!/usr/bin/env bash
# Makes the virtual environment of the shop and of the tests from requirements.txt, whose checksums
# pip verifies. Its name carries the hash of that file.
#
# usage: python.sh CACHE_DIR     -> prints the interpreter's path
set -euo pipefail

requirements="$(cd "$(dirname "$0")" && pwd)/requirements.txt"
out="${1:?usage: python.sh CACHE_DIR}/python-$(sha256sum "$requirements" | cut -c1-16)"
if [ ! -e "$out/complete" ]; then
    echo "fetching the Python wheels of the shop and the tests (80 MB, about a minute, once)" >&2
    rm -rf "$out"
    python3 -m venv "$out"
    "$out/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$requirements" >&2
    touch "$out/complete"
fi
echo "$out/bin/python"
