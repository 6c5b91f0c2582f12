#!/bin/sh
# The kernels against plain C (table.c), on every instruction set that a processor has.
# Usage: run.sh           for this machine
#        run.sh arm64     compiled for AArch64 and run under user-mode emulation: some minutes
# Ends with "N passed, N failed"; the exit code is 0 only when nothing failed. TABLE_KERNELS names another folder of kernels.
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
kernels=${TABLE_KERNELS:-$root/Sources/CKernels}
swift=${SWIFT:-swift}
clang=${TABLE_CLANG:-$(dirname -- "$(readlink -f -- "$(command -v "$swift")")")/clang}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

# The kernels as SwiftPM compiles them for a release (Package.swift).
common=-O3
links="-lm -lpthread"
run=
if [ "${1:-}" = arm64 ] && [ "$(uname -m)" != aarch64 ]; then
    target=aarch64-linux-gnu
    libraries=$(ls -d /usr/lib/gcc-cross/$target/* 2>/dev/null | sort -V | tail -1)
    run=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
    if [ -z "$run" ] || [ -z "$libraries" ] || [ ! -d /usr/$target/include ]; then
        echo "missing: apt-get install qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross (or make test-arm64)" >&2
        exit 2
    fi
    common="$common --target=$target -nostdlibinc -isystem /usr/$target/include"
    links="$links -B$libraries -B/usr/$target/lib -L$libraries -L/usr/$target/lib -fuse-ld=lld -static"
fi

objects=
for source in "$kernels"/*.c; do
    object=$work/kernel-$(basename "$source" .c).o
    # shellcheck disable=SC2086
    "$clang" $common -std=c17 -w -c "$source" -o "$object" || exit 2
    objects="$objects $object"
done
# shellcheck disable=SC2086
"$clang" $common -std=gnu17 -Wall -Wextra -Werror -ffp-contract=off -I"$kernels/include" "$here"/*.c $objects -o "$work/table" $links || exit 2
# shellcheck disable=SC2086
$run "$work/table" >"$work/output"
code=$?
sed 's/^table: //' "$work/output"
[ "$code" -eq 0 ] && grep -q ' 0 failed$' "$work/output"
