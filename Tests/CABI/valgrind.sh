#!/bin/sh
# The C programs under valgrind: memory that is lost, read before it is written, or used after it is freed, in the library as it
# is shipped. Usage: valgrind.sh [folder of libdiffaccel.so]
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
folder=$(CDPATH= cd -- "${1:-$root/.build/release}" && pwd) || exit 2
command -v valgrind >/dev/null 2>&1 || {
    echo "no valgrind: apt-get install valgrind" >&2
    exit 2
}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM
# Its processor knows AVX2 and no AVX-512.
export DIFFACCEL_ISA=avx2

# Without debug information, whose newer forms this valgrind may not read; names of functions stay.
cp "$folder/libdiffaccel.so" "$work/" && ln -s libdiffaccel.so "$work/libdiffaccel.so.0" && strip --strip-debug "$work/libdiffaccel.so" || exit 2

failed=0
# What has no own allocator, no fork and no rounding modes (valgrind has one only), with few rounds.
for program in layout misuse_arguments misuse_structs misuse_options misuse_forward soak files; do
    ${CC:-cc} -std=c11 -O1 -g -I"$root/include" "$here/$program.c" "$here/tiny_checkpoint.c" -o "$work/$program" -L"$work" \
        -ldiffaccel -Wl,-rpath,"$work" -lm -lpthread -ldl || exit 2
    rounds=
    [ $program = soak ] && rounds=20
    if valgrind --quiet --suppressions="$here/valgrind.supp" --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite --error-exitcode=9 \
        "$work/$program" $rounds >"$work/stdout" 2>"$work/stderr"; then
        echo "$program: no error"
    else
        failed=$((failed + 1))
        echo "FAILED: $program"
        grep -v '^--' "$work/stderr" | head -40
        tail -1 "$work/stdout"
    fi
done
test "$failed" -eq 0
