#!/bin/sh
# Builds the C programs beside this script, runs them against the built library, and checks what the library exports.
# Usage: run.sh [folder of libdiffaccel.so]   (default: .build/release of the repository)
# Ends with "N passed, N failed"; the exit code is 0 only when nothing failed.
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
folder=${1:-$root/.build/release}
folder=$(CDPATH= cd -- "$folder" && pwd) || exit 2
library=$folder/libdiffaccel.so
cc=${CC:-cc}
cxx=${CXX:-c++}
passed=0
failed=0
# A trap in the library must end the test at once instead of waiting in a debugger.
export SWIFT_BACKTRACE=enable=no

if [ ! -f "$library" ]; then
    echo "no $library: build it first (make build)" >&2
    exit 2
fi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

# check DESCRIPTION COMMAND...: counts one check by the command's exit code; its output is shown when it fails.
check() {
    what=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        sed 's/^/    /' "$work/output" | head -20
    fi
}

# ---- the header, in the languages that include it ----

printf '#include <diffaccel.h>\nint main(void) { return da_abi_version() < 0; }\n' >"$work/header.c"
cp "$work/header.c" "$work/header.cc"
for standard in c99 c11 c17; do
    check "the header as $standard" "$cc" -std=$standard -pedantic -Wall -Wextra -Werror -I"$root/include" -c "$work/header.c" \
        -o "$work/header.o"
done
if command -v "$cxx" >/dev/null 2>&1; then
    for standard in c++11 c++17 c++20; do
        check "the header as $standard" "$cxx" -std=$standard -pedantic -Wall -Wextra -Werror -I"$root/include" \
            -c "$work/header.cc" -o "$work/header.o"
    done
fi

# ---- what the library exports, needs and weighs ----

nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort >"$work/exported.txt"
check "exported functions are those of exports.txt" diff "$here/exports.txt" "$work/exported.txt"
# Local symbols (lower case) cannot be bound to; anything else must be ours.
nm -D --defined-only "$library" | awk '$2 !~ /^[a-zA]$/ && $3 !~ /^da_/ { print }' >"$work/foreign.txt"
check "no foreign symbol is exported" test ! -s "$work/foreign.txt"
sed -n 's/^\(const char \*\|int32_t \)\(da_[a-z_]*\)(.*/\2/p' "$root/include/diffaccel.h" | LC_ALL=C sort >"$work/declared.txt"
check "exports.txt names what the header declares" diff "$here/exports.txt" "$work/declared.txt"
ldd "$library" >"$work/needs.txt"
check "neither Foundation nor another Swift library is linked" sh -c "! grep -iE 'foundation|libswift|dispatch' '$work/needs.txt'"
check "every library it needs is there" sh -c "! grep 'not found' '$work/needs.txt'"
cp "$library" "$work/stripped.so" && strip "$work/stripped.so"
size=$(wc -c <"$work/stripped.so")
check "stripped, it has at most 10 MB (found $size bytes)" test "$size" -le 10485760

# ---- the programs ----

for program in layout misuse_handles misuse_arguments misuse_structs misuse_options misuse_requests misuse_forward cancel \
    threads environment fork stacks failing soak; do
    extra=
    [ $program = failing ] && extra=$here/faults.c
    flags="-std=c11 -O1 -g -Wall -Wextra -Werror -I$root/include"
    # shellcheck disable=SC2086
    if ! "$cc" $flags "$here/$program.c" "$here/tiny_checkpoint.c" $extra -o "$work/$program" -L"$folder" -ldiffaccel \
        -Wl,-rpath,"$folder" -lm -lpthread -ldl; then
        failed=$((failed + 1))
        echo "FAILED: $program.c does not compile"
        continue
    fi
    timeout 300 "$work/$program" >"$work/stdout" 2>"$work/stderr"
    code=$?
    sed 's/^/    /' "$work/stderr" | head -50
    summary=$(grep "^$program: " "$work/stdout" | tail -1)
    if [ -z "$summary" ]; then
        failed=$((failed + 1))
        echo "FAILED: $program ended with exit code $code before its summary"
        continue
    fi
    echo "$summary"
    passed=$((passed + $(echo "$summary" | awk '{ print $2 }')))
    failed=$((failed + $(echo "$summary" | awk '{ print $4 }')))
done

echo "$passed passed, $failed failed"
test "$failed" -eq 0
