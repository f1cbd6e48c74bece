#!/usr/bin/env bash
# Everything `make test` runs, in the order in which a fault is cheapest to learn of. A step that
# fails does not stop those that do not need it; the end says which failed.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
step() {
    local what=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$what"
    if "$@"; then
        printf -- '--- %s: ok, %d s\n' "$what" $((SECONDS - start))
    else
        printf -- '--- %s: FAILED, %d s\n' "$what" $((SECONDS - start))
        failed+=("$what")
        return 1
    fi
}

finish() {
    if [ ${#failed[@]} -gt 0 ]; then
        printf '\nfailed: %s\n' "$(IFS=,; echo "${failed[*]}")"
        exit 1
    fi
    printf '\nall steps passed in %d s\n' "$SECONDS"
    exit 0
}

# A clean checkout of CI would compile 500 libraries anew each time; they depend on the lock file and
# the compiler alone, so their build folder is kept in the cache under these. A folder that has
# grown beyond 20 GB holds mostly what other checkouts left behind.
keep_build_folder() {
    local key kept
    key=$({ rustc -V; cat Cargo.lock Cargo.toml; } | sha256sum | cut -c1-16)
    kept="${XDG_CACHE_HOME:-$HOME/.cache}/throughline/build-$key"
    if [ "$(du -sm "$kept" 2>/dev/null | cut -f1)" -gt 20000 ] 2>/dev/null; then rm -rf "$kept"; fi
    mkdir -p "$kept"
    ln -s "$kept" target
    rm -rf target/runs
}
if [ "${CI:-}" = true ] && [ ! -e target ]; then keep_build_folder; fi

step "set-up" tests/parts/setup.sh || finish
python=$(tests/parts/setup.sh --print-env | sed -n 's/^THROUGHLINE_PYTHON=//p')
in_tests() { (cd tests && "$python" "$@"); }

step "formatting and bans" make --no-print-directory lint
step "build" cargo build --workspace --bins || finish
step "cargo tests" cargo test --workspace --no-fail-fast
step "kernel programs on live traffic" "$python" agent/tests/live.py
step "scorer by itself" in_tests -m unittest discover -t . -s score
step "lab by itself" in_tests -m unittest discover -t . -s lab/checks
# Another engine than ours and DuckDB reads every table once; 0 leaves it out where it is not cached.
export THROUGHLINE_SPARK=${THROUGHLINE_SPARK:-1}
step "end to end" in_tests -m e2e
step "the scores again" make --no-print-directory score
finish
