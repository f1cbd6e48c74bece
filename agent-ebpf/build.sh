#!/usr/bin/env bash
# Builds the kernel programs into target/bpf/throughline-programs.
#
# Stable rustc has no core library for the BPF target, so Debian's rustc-web toolchain, which ships
# the sources of it, does this one build; the rest of the workspace never needs it.
# bpf-linker goes to the user's cache, keyed by version.
set -euo pipefail

readonly linker_version=0.13.0
readonly llvm=22
readonly cache="${XDG_CACHE_HOME:-$HOME/.cache}/throughline/bpf-linker-$linker_version"
readonly workspace="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly target="$workspace/target/bpf"

missing=()
for package in rustc-web cargo-web rust-web-src "llvm-$llvm-dev"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]})); then
    echo "The kernel programs need: apt-get install -y ${missing[*]}" >&2
    exit 1
fi

# The shell's rustup settings must not redirect the packaged toolchain.
unset RUSTUP_TOOLCHAIN CARGO_ENCODED_RUSTFLAGS
export RUSTC=/usr/bin/rustc

if [[ ! -x "$cache/bin/bpf-linker" ]]; then
    echo "Building bpf-linker $linker_version, about a minute, once ..."
    LLVM_PREFIX="/usr/lib/llvm-$llvm" RUSTFLAGS="-L/usr/lib/llvm-$llvm/lib" \
        /usr/bin/cargo install bpf-linker --version "$linker_version" \
        --no-default-features --features "llvm-$llvm" --locked --quiet --root "$cache"
fi

echo "Building the kernel programs, about a minute when cold ..."
# -Z build-std is unstable, hence RUSTC_BOOTSTRAP. Debug information becomes the BTF of the maps
# and programs. cpu=v3 is what Linux 5.10 and later run.
RUSTC_BOOTSTRAP=1 \
    CARGO_TARGET_DIR="$target/cargo" \
    RUSTFLAGS="-Clinker=$cache/bin/bpf-linker -Clink-arg=--btf -Ctarget-cpu=v3" \
    CARGO_PROFILE_RELEASE_DEBUG=2 CARGO_PROFILE_RELEASE_LTO=false \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_PANIC=abort \
    /usr/bin/cargo build --quiet --release -Z build-std=core --target bpfel-unknown-none \
    --manifest-path "$workspace/Cargo.toml" \
    --package throughline-agent-ebpf --features programs --bin throughline-programs

# Renamed into place, so that an agent that starts now reads the old file or the new one.
cp "$target/cargo/bpfel-unknown-none/release/throughline-programs" "$target/throughline-programs.new"
mv "$target/throughline-programs.new" "$target/throughline-programs"
echo "Built $target/throughline-programs"
