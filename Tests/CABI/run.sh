#!/bin/sh
# Builds the C programs beside this script, runs them against the built library, and checks what the library exports.
# Usage: run.sh [folder of libdiffaccel.so]   (default: .build/release of the repository)
# DIFFACCEL_LONG=1 runs more rounds. CC, CXX, CFLAGS and LIBS are for compiling; SANITIZER=address or thread says that CFLAGS ask for
# one. PROGRAMS="cancel soak" runs only these. Ends with "N passed, N failed"; the exit code is 0 only when nothing failed.
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
folder=${1:-$root/.build/release}
folder=$(CDPATH= cd -- "$folder" && pwd) || exit 2
library=$folder/libdiffaccel.so
cc=${CC:-cc}
cxx=${CXX:-c++}
sanitizer=${SANITIZER:-}
long=${DIFFACCEL_LONG:-}
if [ ! -f "$library" ]; then
    echo "no $library: build it first (make build)" >&2
    exit 2
fi
ln -sf libdiffaccel.so "$folder/libdiffaccel.so.0" # the name that programs ask the loader for
. "$here/swift_variables.sh"

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

. "$here/../checks.sh"

# What does not depend on how the library was built, and what only a release has.
for part in interface loading; do
    case "${PROGRAMS:-$part}" in *$part*) [ -n "$sanitizer" ] || . "$here/$part.sh" ;; esac
done

# ---- the programs ----

# What each program is called with.
arguments() {
    case $1 in
        soak) if [ -n "$long" ]; then echo 20000; elif [ -n "$sanitizer" ]; then echo 200; else echo 1000; fi ;;
        failing) echo "$root/Models $([ -n "$sanitizer" ] && echo 101)" ;;
        failing_training) [ -n "$sanitizer" ] && echo 1999 ;;
        copies) echo "$library" ;;
        text_requests | misuse_texts | events | misuse_events | misuse_scales) echo "$root/Models" ;;
    esac
}

# What each program finds in its environment beside the caller's.
surroundings() {
    case $1 in
        # Counts of allocated bytes are exact only without the caches of threads.
        soak | training_memory) echo GLIBC_TUNABLES=glibc.malloc.tcache_count=0 ;;
        *) echo "_=$1" ;;
    esac
}

all="processors layout misuse_handles misuse_arguments misuse_structs misuse_options misuse_requests misuse_json misuse_tensors \
misuse_tensor_data misuse_prompts misuse_sounds misuse_settings misuse_scales misuse_texts misuse_events misuse_forward misuse_training misuse_trainers misuse_specialise \
requests cancel threads environment fork stacks failing soak copies files training training_stops training_states \
training_memory training_threads failing_training tokenizers text_requests text_safety events families token_models"
# Frames of sanitized code do not fit into 64 KiB, a second copy has no second sanitizer, ThreadSanitizer has its own allocator and
# does not outlive a fork.
case $sanitizer in
    address) all=$(echo "$all" | sed 's/ stacks//; s/ copies//') ;;
    thread) all=$(echo "$all" | sed 's/ stacks//; s/ copies//; s/ fork//; s/ failing_training//; s/ failing//; s/ training_states//; s/ environment//') ;;
esac

for program in ${PROGRAMS:-$all}; do
    case $program in interface | loading) continue ;; esac
    extra=
    case $program in failing*) extra=$here/faults.c ;; esac
    flags="-std=c11 -O1 -g -Wall -Wextra -Werror ${CFLAGS:-} -I$root/include"
    # The system's linker warns about a sanitizer's own symbols.
    [ -n "$sanitizer" ] && flags="$flags -fuse-ld=lld"
    # shellcheck disable=SC2086
    if ! "$cc" $flags "$here/$program.c" "$here/tiny_checkpoint.c" $extra -o "$work/$program" -L"$folder" -ldiffaccel \
        -Wl,-rpath,"$folder" -lm -lpthread -ldl ${LIBS:-}; then
        failed=$((failed + 1))
        echo "FAILED: $program.c does not compile"
        continue
    fi
    # shellcheck disable=SC2046
    env "$(surroundings "$program")" timeout $([ -n "$long$sanitizer" ] && echo 3600 || echo 300) "$work/$program" $(arguments "$program") \
        >"$work/stdout" 2>"$work/stderr"
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
    failures=$(echo "$summary" | awk '{ print $4 }')
    # A sanitizer's report comes after the summary.
    if [ "$failures" -eq 0 ] && [ "$code" -ne 0 ]; then
        failures=1
        echo "FAILED: $program ended with exit code $code after its summary"
    fi
    failed=$((failed + failures))
done

echo "$passed passed, $failed failed"
test "$failed" -eq 0
