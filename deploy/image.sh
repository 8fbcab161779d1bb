#!/usr/bin/env bash
# Builds the FROM scratch image with no registry: a static glibc binary from this machine's toolchain, and
# nothing else.
#
#   deploy/image.sh [TAG]          default tag: weir:dev
#
# WEIR_PROFILE   the cargo profile: release (default), or dev for a quick build in tests
# CARGO_TARGET_DIR   as for cargo; the static build goes to a folder of its own in it
set -euo pipefail

tag=${1:-weir:dev}
profile=${WEIR_PROFILE:-release}
root=$(cd "$(dirname "$0")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/image
host=$(rustc -vV | sed -n 's/^host: //p')

# There, so that cargo finds .cargo/config.toml, whose flags this one is added to.
(cd "$root" && cargo build --quiet --locked -p weir --profile "$profile" --target "$host" --target-dir "$target" \
    --config 'build.rustflags=["-Ctarget-feature=+crt-static"]')

folder=$profile
if [ "$profile" = dev ]; then folder=debug; fi
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/image/var/lib/weir" "$context/image/run/weir"
cp "$target/$host/$folder/weir" "$context/image/weir"
if [ "$profile" = dev ]; then strip --strip-debug "$context/image/weir"; fi
if ! docker build --tag "$tag" --file "$root/deploy/scratch.Dockerfile" "$context" >"$context/log" 2>&1; then
    cat "$context/log" >&2
    exit 1
fi
echo "$tag"
