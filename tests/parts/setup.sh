#!/usr/bin/env bash
# Makes a fresh Debian 12 machine ready for the lab: checks first, then fetches and builds every real
# part that is not in the cache yet, then writes where they are to CACHE/parts.env.
#
# usage: setup.sh              make ready
#        setup.sh --print-env  say where the parts are (KEY=VALUE lines), nothing else
set -euo pipefail
# Also a step inside $(...) ends the set-up when it fails.
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/throughline"
listing="$cache/parts.env"

if [ "${1:-}" = --print-env ]; then
    [ -e "$listing" ] || { echo "nothing is set up yet: run tests/parts/setup.sh" >&2; exit 1; }
    cat "$listing"
    exit 0
fi

# step WHAT COMMAND...: runs it and says how long it took when that was noticeable.
step() {
    local what=$1 start=$SECONDS
    shift
    "$@"
    if [ $((SECONDS - start)) -ge 2 ]; then echo "  $what: $((SECONDS - start)) s" >&2; fi
}

mkdir -p "$cache"
"$here/check.sh" "$cache"

# Two set-ups at the same time would build the same part into the same place.
exec 9> "$cache/setup.lock"
flock 9

step "Debian packages" "$here/packages.sh"
etcd=$(step "etcd" "$here/etcd.sh" "$cache")
kubernetes=$(step "Kubernetes control plane" "$here/control-plane.sh" "$cache")
python=$(step "Python environment" "$here/python.sh" "$cache")

cat > "$listing.partial" <<END
THROUGHLINE_ETCD=$etcd
THROUGHLINE_KUBERNETES=$kubernetes
THROUGHLINE_PYTHON=$python
END
mv "$listing.partial" "$listing"
step "kernel programs" "$here/../../agent-ebpf/build.sh"
