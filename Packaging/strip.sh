#!/bin/sh
# strip.sh SOURCE TARGET: a library or program without symbols and debug information. The hashes of Swift's modules, which no program reads and
# which no two builds have alike, become zeros: without their section, strip would forget which pages are read-only after loading.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if objcopy --dump-section .swift_modhash="$work/hashes" "$1" "$work/file" 2>/dev/null && [ -s "$work/hashes" ]; then
    head -c "$(wc -c <"$work/hashes")" /dev/zero >"$work/zeros"
    objcopy --update-section .swift_modhash="$work/zeros" "$1" "$work/file"
else
    cp "$1" "$work/file"
fi
strip --strip-unneeded --remove-section=.comment -o "$2" "$work/file"
