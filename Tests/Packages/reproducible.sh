#!/bin/sh
# Builds what is committed twice from nothing, in a folder of one name, and compares library and command line without their debug
# information. (The compiler keeps the length of a source file's path in two places, so folders of other names may give other bytes.)
# Usage: reproducible.sh
# Ends with "N passed, N failed"; the exit code is 0 only when nothing failed.
set -u

root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
passed=0
failed=0
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

# built NAME: library and command line of a new clone, stripped, in a folder of that name.
built() {
    git clone --quiet --shared "$root" "$work/source" && make --no-print-directory -C "$work/source" build-dist >"$work/log" 2>&1 || {
        tail -20 "$work/log"
        exit 2
    }
    mkdir "$work/$1"
    for file in libdiffaccel.so diffaccel-cli; do
        "$root/Packaging/strip.sh" "$work/source/.build-dist/release/$file" "$work/$1/$file" || exit 2
    done
    rm -rf "$work/source"
}
built first
built second
for file in libdiffaccel.so diffaccel-cli; do
    if cmp "$work/first/$file" "$work/second/$file"; then
        passed=$((passed + 1))
        sha256sum "$work/first/$file" | sed "s|  .*|  $file, stripped|"
    else
        failed=$((failed + 1))
        echo "FAILED: $file differs between two builds"
    fi
done
echo "$passed passed, $failed failed"
test "$failed" -eq 0
