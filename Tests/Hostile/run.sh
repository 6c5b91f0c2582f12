#!/bin/sh
# Builds the programs beside this script, runs them against the built library, and compares its verdicts with those of the safetensors
# package where there is one.
# Usage: run.sh [folder of libdiffaccel.so]   (default: .build/release of the repository)
# Ends with "N passed, N failed"; the exit code is 0 only when nothing failed.
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
folder=$(CDPATH= cd -- "${1:-$root/.build/release}" && pwd) || exit 2
# A Python that has the safetensors package: the reference is only for tests, so its absence is no failure, but it is said.
python=${HOSTILE_PYTHON:-python3}
passed=0
failed=0

if [ ! -f "$folder/libdiffaccel.so" ]; then
    echo "no $folder/libdiffaccel.so: build it first (make build)" >&2
    exit 2
fi
library=$folder/libdiffaccel.so
. "$root/Tests/CABI/swift_variables.sh"
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

# Adds the counts of the program's last line, "name: N passed, N failed".
count() {
    "$@" >"$work/output" 2>&1
    code=$?
    last=$(tail -1 "$work/output")
    grep -v ' passed, ' "$work/output" | head -40
    echo "$last"
    ok=$(echo "$last" | sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed$/\1/p')
    bad=$(echo "$last" | sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed$/\2/p')
    passed=$((passed + ${ok:-0}))
    failed=$((failed + ${bad:-0}))
    # A program that ended otherwise has no figures to add.
    if [ "$code" -ne 0 ] && [ "${bad:-0}" -eq 0 ]; then failed=$((failed + 1)); fi
}

for program in verdicts bytes io_faults; do
    if "$here/compile.sh" "$program" "$folder" "$work/$program" -Wall -Wextra -Werror; then
        count "$work/$program"
    else
        failed=$((failed + 1))
    fi
done

if "$python" -c 'import safetensors' 2>/dev/null; then
    count env DIFFACCEL_LIBRARY="$folder/libdiffaccel.so" "$python" "$here/differential.py"
else
    echo "differential: left out, $python has no safetensors (HOSTILE_PYTHON names another)"
fi

echo "hostile files: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
