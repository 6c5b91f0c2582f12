#!/bin/sh
# Compares the header with the released interface, abi/diffaccel.abi: functions, their types, members of structs and where they
# stand. The library itself has no C types in its debug information, so the header's functions are compiled as stubs with empty
# bodies; Swift's compiler checks the real ones against the header.
# Usage: abi.sh            compares, then proves on changed headers that a change would be seen
#        abi.sh --update   writes abi/diffaccel.abi anew: at a release, after additions
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
header=$here/../../include/diffaccel.h
baseline=$here/abi/diffaccel.abi
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

for tool in abidw abidiff; do
    command -v $tool >/dev/null 2>&1 || {
        echo "no $tool: apt-get install abigail-tools, or make deps" >&2
        exit 1
    }
done

# stubs HEADER OUTPUT: a library of the header's functions with empty bodies. Comments and directives go, then each declaration
# that ends in ");" and names a da_ function gets a body.
stubs() {
    mkdir -p "$work/include"
    cp "$1" "$work/include/diffaccel.h"
    {
        echo '#include <diffaccel.h>'
        tr '\n' ' ' <"$1" | sed 's|/\*|\n/*|g; s|\*/|*/\n|g' | grep -v '^/\*' | tr '\n' ' ' | tr ';' '\n' |
            grep -E '(int32_t|const char \*) *da_[a-z_]+ *\([^()]*\) *$' | sed -E 's/.*[^a-z_0-9](int32_t|const char \*)( *da_)/\1\2/' |
            sed 's/$/ { return 0; }/'
    } >"$work/stubs.c"
    ${CC:-cc} -g -O0 -w -shared -fPIC -Wl,-soname,libdiffaccel.so -I"$work/include" "$work/stubs.c" -o "$2"
}

# The description without what differs from machine to machine: names of files, lines, compilers.
describe() { abidw --no-comp-dir-path --no-show-locs --no-corpus-path "$1" | sed -E "s/ (comp-dir-path|producer|path)='[^']*'//g"; }

# compares LIBRARY: fails when something that was released has changed or gone.
compares() { abidiff --no-added-syms "$baseline" "$1"; }

stubs "$header" "$work/now.so" || exit 1
if [ "${1:-}" = --update ]; then
    describe "$work/now.so" >"$baseline"
    exit
fi
compares "$work/now.so" || exit 1
if [ "$(nm -D --defined-only "$work/now.so" | grep -c ' T da_')" -ne "$(wc -l <"$here/exports.txt")" ]; then
    echo "the stubs are not all of the functions of exports.txt" >&2
    exit 1
fi

# seen DESCRIPTION SED-SCRIPT: a header changed in this way must not pass.
seen() {
    sed -E "$2" "$header" >"$work/changed.h"
    if cmp -s "$header" "$work/changed.h"; then
        echo "$1: the script changes nothing" >&2
        exit 1
    fi
    stubs "$work/changed.h" "$work/changed.so" || exit 1
    if compares "$work/changed.so" >/dev/null; then
        echo "not seen: $1" >&2
        exit 1
    fi
}
seen "a member is gone" 's/int32_t follow_links; //'
seen "the last member is gone" 's/int32_t reserved; //'
seen "a member has another type" 's/uint64_t memory_limit;/uint32_t memory_limit;/'
seen "a member's sign has changed" 's/int64_t mask_token;/uint64_t mask_token;/'
seen "two members have changed places" 's/double fraction; /da_event_source source;/;t;s/da_event_source source;/double fraction;/'
seen "a training event's member has another type" 's/int64_t steps;/int32_t steps;/'
seen "a trainer's option is gone" 's/int32_t threads; .*0: one per processor.*//'
seen "a function is gone" '/^int32_t da_session_cancel/d'
seen "a function has another parameter" 's/^(int32_t da_plan_close\(da_plan plan)/\1, int32_t flags/'
seen "a trainer's function has another parameter" 's/^(int32_t da_trainer_run\(da_trainer trainer, )int64_t/\1int32_t/'
seen "a training callback has another type" 's/^typedef int32_t \(\*da_training_callback\)/typedef void (*da_training_callback)/'
seen "a callback has another type" 's/^typedef int32_t \(\*da_event_callback\)/typedef void (*da_event_callback)/'

# What is added disturbs nobody.
sed 's/^int32_t da_plan_close(da_plan plan);/&\nint32_t da_plan_newer(da_plan plan);/' "$header" >"$work/changed.h"
stubs "$work/changed.h" "$work/changed.so" && compares "$work/changed.so" || exit 1
