#!/usr/bin/env bash
# Checks that this machine can build and run everything, before anything is fetched or built. Each
# thing that is missing is named with its remedy, all of them together.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

problems=()
missing() { problems+=("$1"$'\n'"      remedy: $2"); }

# at_least VERSION WANTED: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]; }

# tool NAME VERSION WANTED REMEDY
tool() {
    if [ -z "$2" ]; then missing "$1 is missing ($1 $3 or newer is needed)" "$4"
    elif ! at_least "$2" "$3"; then missing "$1 is $2, $3 or newer is needed" "$4"; fi
}

number() { grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -1; }

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    missing "this is $(uname -s) on $(uname -m)" "use x86-64 Linux: the control plane's binaries are for it"
[ "$(id -u)" = 0 ] || missing "not root" "run as root: the lab makes network namespaces and loads BPF"
[ -r /sys/kernel/btf/vmlinux ] ||
    missing "the kernel has no BTF (/sys/kernel/btf/vmlinux)" "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
command -v apt-get > /dev/null || missing "apt-get is missing" "use Debian 12"

tool python3 "$(python3 --version 2>&1 | number)" 3.11 "apt-get install python3 python3-venv"
tool go "$(go env GOVERSION 2> /dev/null | number)" 1.26 "install Go 1.26"
tool cargo "$(cargo --version 2> /dev/null | number)" 1.95 "install Rust 1.95"
tool java "$(java -version 2>&1 | grep version | number)" 17.0 "apt-get install openjdk-17-jre-headless"
command -v cc > /dev/null || missing "a C compiler is missing" "apt-get install build-essential"

if [ "$(id -u)" = 0 ] && command -v python3 > /dev/null; then
    reason=$(python3 "$here/may_load_bpf.py" 2>&1) ||
        missing "the kernel refuses a BPF program ($reason)" "run with CAP_BPF and CAP_PERFMON, outside of a container that filters bpf(2)"
    reason=$(unshare --net true 2>&1) ||
        missing "no network namespace can be made ($reason)" "run with CAP_SYS_ADMIN and CAP_NET_ADMIN"
fi

free_gib=$(df --output=avail -BG "${1:?usage: check.sh CACHE_DIR}" | tail -1 | tr -dc 0-9)
[ "$free_gib" -ge 15 ] || missing "only $free_gib GiB of disk are free below $1" "free 15 GiB"

[ ${#problems[@]} -eq 0 ] && exit 0
echo "this machine cannot run Throughline's lab:" >&2
for problem in "${problems[@]}"; do echo "  - $problem" >&2; done
exit 1
