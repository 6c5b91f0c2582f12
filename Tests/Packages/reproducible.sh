#!/bin/sh
# Builds what is committed twice, in two folders, and compares library and command line without their debug information.
# Usage: reproducible.sh [FOLDER_OF_A_BUILD]   The folder of an earlier `make build-dist` of the same commit counts as the first of the two.
# Ends with "N passed, N failed"; the exit code is 0 only when nothing failed.
set -u

root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
passed=0
failed=0
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

# built NAME: a clone in a folder of that name, built for packages.
built() {
    git clone --quiet --shared "$root" "$work/$1" && make --no-print-directory -C "$work/$1" build-dist >"$work/$1.log" 2>&1 || {
        tail -20 "$work/$1.log"
        exit 2
    }
}
if [ $# -gt 0 ]; then
    first=$(CDPATH= cd -- "$1" && pwd) || exit 2
else
    built one
    first=$work/one/.build-dist/release
fi
built "another-folder"
second=$work/another-folder/.build-dist/release
for file in libdiffaccel.so diffaccel-cli; do
    strip --strip-unneeded -o "$work/first" "$first/$file" && strip --strip-unneeded -o "$work/second" "$second/$file" || exit 2
    if cmp "$work/first" "$work/second"; then
        passed=$((passed + 1))
        sha256sum "$work/first" | sed "s|$work/first|$file, stripped|"
    else
        failed=$((failed + 1))
        echo "FAILED: $file differs between two builds"
    fi
done
echo "$passed passed, $failed failed"
test "$failed" -eq 0
