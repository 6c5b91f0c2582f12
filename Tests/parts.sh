#!/bin/sh
# Runs targets of the Makefile one after another, each with its time, and says by which command one that failed is run alone.
# Usage: parts.sh PART...   MAKE: the make to call; KEEP_GOING=1 (or make -k): the others run too, and all failures are listed.
# Ends with the exit status of the first part that failed.
set -u

make=${MAKE:-make}
case ${MAKEFLAGS%% *} in -*) ;; *k*) KEEP_GOING=1 ;; esac
status=0
failed=
for part in "$@"; do
    begun=$(date +%s)
    "$make" --no-print-directory "$part"
    code=$?
    echo "$part: $(($(date +%s) - begun)) s"
    [ "$code" -eq 0 ] && continue
    [ "$status" -ne 0 ] || status=$code
    failed="$failed $part"
    echo "failed: make $part" >&2
    [ -n "${KEEP_GOING:-}" ] || break
done
for part in $failed; do
    [ -z "${KEEP_GOING:-}" ] || echo "failed: make $part" >&2
done
exit "$status"
