#!/bin/sh
# The Swift suite, and the C programs against a sanitized library.
# Usage: sanitize.sh address|thread [swift|c]   (default: both)
set -u

sanitizer=${1:-address}
part=${2:-both}
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
swift=${SWIFT:-swift}
case $sanitizer in
    address) scratch=$root/.build-asan ;;
    thread) scratch=$root/.build-tsan ;;
    *)
        echo "usage: sanitize.sh address|thread [swift|c]" >&2
        exit 2
        ;;
esac
# The compiler that comes with Swift has the sanitizers' runtime the library was built for.
toolchain=$(dirname -- "$(readlink -f "$(command -v "$swift")")")
export SWIFT_BACKTRACE=enable=no

# allocator_may_return_null: tests ask on purpose for more than there is, and malloc must say so as it does without sanitizer;
#   by default the sanitizer ends the process instead.
# detect_leaks: only in the C programs; what Swift's test runner keeps is not ours.
# quarantine_size_mb: freed memory is kept for a while to catch later use; a soak of thousands of rounds must not keep it all.
# log_path is left alone, so a report ends the program with exit code 1 and stands in its output.
case $part in c) ;; *)
    export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0
    export TSAN_OPTIONS=allocator_may_return_null=1:halt_on_error=0:exitcode=66
    "$swift" test --no-parallel --sanitize="$sanitizer" --scratch-path "$scratch" || exit 1
    ;;
esac
case $part in swift) ;; *)
    "$swift" build --product diffaccel --sanitize="$sanitizer" --scratch-path "$scratch" || exit 1
    # A library without the sanitizer's calls would pass everything.
    nm -D --undefined-only "$scratch/debug/libdiffaccel.so" | grep -qE ' __(asan|tsan)_' || {
        echo "the library is not instrumented" >&2
        exit 1
    }
    export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1:quarantine_size_mb=16
    # history_size: the default forgets the other side of a race after some thousand accesses.
    export TSAN_OPTIONS=allocator_may_return_null=1:history_size=4
    # Swift's ThreadSanitizer knows libdispatch, which the library has no use for, and cannot be linked without it.
    runtime=$toolchain/../lib/swift/linux
    [ "$sanitizer" = thread ] && export LIBS="-L$runtime -Wl,-rpath,$runtime -ldispatch -lBlocksRuntime"
    CC=${SANITIZER_CC:-$toolchain/clang} CFLAGS="-fsanitize=$sanitizer" SANITIZER=$sanitizer \
        "$here/run.sh" "$scratch/debug" || exit 1
    ;;
esac
