#!/usr/bin/env bash
# Builds the Kubernetes control plane of the lab from Go modules: kube-apiserver,
# kube-controller-manager and kube-proxy. `k8s.io/kubernetes` cannot be `go install`ed (its go.mod
# has local replaces), so a small module of our own pins every staging module beside it.
#
# usage: control-plane.sh CACHE_DIR     -> prints the directory of the three programs
set -euo pipefail

version=1.36.3
staging="0.${version#1.}"
cache=${1:?usage: control-plane.sh CACHE_DIR}
out="$cache/kubernetes-$version"
commands=(kube-proxy kube-apiserver kube-controller-manager)

missing=()
for c in "${commands[@]}"; do [ -x "$out/$c" ] || missing+=("$c"); done
if [ ${#missing[@]} -eq 0 ]; then echo "$out"; exit 0; fi

echo "building ${missing[*]} v$version from Go modules (about 7 minutes on 2 cores, once)" >&2
work="$out/module"
mkdir -p "$work"
cd "$work"
export GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0

# The version list of the staging modules comes from the go.mod of the pinned release; the Go
# checksum database verifies every module that is fetched.
printf 'module throughline.invalid/controlplane\n\ngo 1.26.0\n' > go.mod
gomod=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",\?$/\1/p')
{
    printf 'module throughline.invalid/controlplane\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$version"
    grep -oE '^\s*k8s\.io/[a-z0-9-]+ v0\.0\.0$' "$gomod" | awk '{print $1}' | sort -u |
        while read -r module; do printf '\t%s => %s v%s\n' "$module" "$module" "$staging"; done
    printf ')\n'
} > go.mod
{
    printf '//go:build tools\n\npackage tools\n\nimport (\n'
    for c in "${commands[@]}"; do printf '\t_ "k8s.io/kubernetes/cmd/%s"\n' "$c"; done
    printf ')\n'
} > tools.go
go mod tidy > tidy.log 2>&1 || { cat tidy.log >&2; exit 1; }

flags="-s -w -X k8s.io/component-base/version.gitVersion=v$version"
flags+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
for c in "${missing[@]}"; do
    start=$(date +%s)
    go build -trimpath -ldflags "$flags" -o "$out/$c.partial" "k8s.io/kubernetes/cmd/$c"
    mv "$out/$c.partial" "$out/$c"
    echo "  built $c in $(( $(date +%s) - start )) s" >&2
done
rm -rf "$work"
echo "$out"
