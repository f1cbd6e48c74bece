#!/usr/bin/env bash
# Installs the Debian packages of the lab that are not installed yet.
set -euo pipefail

packages=(
    iproute2 util-linux iptables nftables conntrack  # namespaces and kube-proxy's tools
    nginx-light redis-server                         # the shop's ingress and store
    openssl curl python3 python3-venv                # the lab itself
    rustc-web cargo-web rust-web-src llvm-22-dev     # the toolchain of the kernel programs
)

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing ${missing[*]} by apt (up to a minute, once)" >&2
# The run level keeps packages from starting their services on this machine: the lab starts its own
# inside namespaces.
install() { RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null; }
install 2> /dev/null || { apt-get update -qq && install; }
