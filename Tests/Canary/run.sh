#!/bin/sh
# Tests of the tests: builds the library with five planted faults (CANARY in the sources), checks that the trap census reports each of
# them and the spill census a sixth, and that the suites against hostile input die of each, one process and one fault at a time.
# Usage: run.sh   (SWIFT, CC and CANARY_FOLDER, by default .build-canary, may be set)
# Ends with "N passed, N failed"; the exit code is 0 only when nothing failed.
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
folder=${CANARY_FOLDER:-$root/.build-canary}
library=$folder/release
passed=0
failed=0

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT INT TERM

pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED: $*"
}

cd "$root" || exit 2
if ! DIFFACCEL_CANARY=1 ${SWIFT:-swift} build -c release --product diffaccel --scratch-path "$folder" >"$work/build" 2>&1; then
    tail -20 "$work/build"
    echo "the library with the planted faults does not build" >&2
    exit 2
fi

# ---- the census sees each of them ----

${PYTHON:-python3} Tests/TrapCensus/census.py "$library" >"$work/census" 2>&1 && fail "the census has no complaint"
for place in "DiffCheckpoint: .*SafetensorsHeader" "DiffAcceleration: .*Plan.init" "DiffAccelC: .*threadCount" \
    "DiffAccel: .*SampleLoop" "DiffAccelC: .*emit"; do
    if grep -q "^$place" "$work/census"; then pass; else fail "the census does not report $place"; fi
done

# ---- the other census sees a tile whose loops are left rolled ----

cp -r Sources/CKernels "$work/kernels"
sed -i -E 's/^#pragma unroll.*/#pragma clang loop unroll(disable)/; s/_Pragma\("unroll"\)/_Pragma("clang loop unroll(disable)")/' \
    "$work/kernels/generic/gemm.inl"
${PYTHON:-python3} Tests/SpillCensus/census.py --sources "$work/kernels" >"$work/census" 2>&1 && fail "the spill census has no complaint"
for isa in base avx2 avx512 bf16; do
    if grep -q "^$isa: .*tile" "$work/census"; then pass; else fail "the spill census does not report the rolled tile of $isa"; fi
done
if ${PYTHON:-python3} Tests/SpillCensus/census.py >"$work/census" 2>&1; then pass; else fail "the spill census complains without a fault"; fi

# ---- the suites find each of them ----

ln -sf libdiffaccel.so "$library/libdiffaccel.so.0" # the name that programs ask the loader for

# compile PROGRAM SOURCE...
compile() {
    program=$1
    shift
    ${CC:-cc} -std=c11 -O1 -g -Iinclude "$@" -o "$work/$program" -L"$library" -ldiffaccel \
        -Wl,-rpath,"$library" -lm -lpthread -ldl || exit 2
}
for program in misuse_options misuse_arguments cancel; do
    compile "$program" "Tests/CABI/$program.c" Tests/CABI/tiny_checkpoint.c
done
Tests/Hostile/compile.sh verdicts "$library" "$work/verdicts" || exit 2

# runs FAULT PROGRAM: with the fault armed the program dies of a trap; with none armed it passes.
runs() {
    DIFFACCEL_CANARY_ARMED=$1 timeout 300 "$work/$2" >"$work/output" 2>&1
    code=$?
    # Illegal instruction, trap, abort: what a failed check ends in on one machine or another.
    case $code in
        132 | 133 | 134) pass ;;
        *) fail "$2 does not die of the fault \"$1\": exit code $code" ;;
    esac
    if timeout 300 "$work/$2" >"$work/output" 2>&1; then pass; else
        fail "$2 fails with no fault armed"
        tail -5 "$work/output"
    fi
}

# fuzzes FAULT TARGET: so does the fuzzer, with what it knows of the format and nothing of the code.
swift=${SWIFT:-swift}
clang=${FUZZ_CLANG:-$(dirname -- "$(readlink -f -- "$(command -v "$swift")")")/clang}
fuzzes() {
    fuzz=Tests/Fuzz
    "$clang" -std=gnu17 -O2 -g -fsanitize=fuzzer -Iinclude $fuzz/targets/$2.c $fuzz/fuzz.c $fuzz/weights.c $fuzz/mutator.c \
        -o "$work/fuzz" -L"$library" -ldiffaccel -Wl,-rpath,"$library" -Wl,--export-dynamic 2>"$work/output" || exit 2
    DIFFACCEL_CANARY_ARMED=$1 "$work/fuzz" -runs=200000 -seed=1 -max_len=2048 -dict=$fuzz/json.dict -timeout=300 \
        -artifact_prefix="$work/" $fuzz/corpus/$2 >"$work/output" 2>&1
    code=$?
    if [ "$code" -ne 0 ] && grep -q "deadly signal" "$work/output"; then pass; else
        fail "the fuzzer of \"$2\" does not find the fault \"$1\": exit code $code"
    fi
}

runs reader verdicts
runs plan verdicts
runs session misuse_options
runs step cancel
runs boundary misuse_arguments
fuzzes reader header

echo "canaries: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
