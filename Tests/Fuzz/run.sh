#!/bin/sh
# Fuzzes one target: run.sh TARGET INPUTS SEED [KIND]
#
#   TARGET  header json index config_dit config_vae scheduler plan router folder request api npy training tokenizer unigram spiece
#           clip_vocabulary layout lora; or "all", one after the other
#   KIND    shipped   the release library as it is (default)
#           coverage  a library built with libFuzzer's counters: finds more, some minutes to build the first time
#           edges     the same without the tracing of comparisons: about twice the inputs in the same time
#           address   coverage under the address sanitizer
#
# Inputs that end the process are kept in build/fuzz/found. The compiler is the clang of the Swift toolchain, which has libFuzzer.
set -eu

all="header json index config_dit config_vae scheduler plan router folder request api npy training tokenizer unigram spiece clip_vocabulary layout lora"
target=${1:-all}
inputs=${2:-5000}
seed=${3:-1}
kind=${4:-shipped}
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
work=$root/build/fuzz
swift=${SWIFT:-swift}
clang=${FUZZ_CLANG:-$(dirname -- "$(readlink -f -- "$(command -v "$swift")")")/clang}
mkdir -p "$work/bin" "$work/found"

# Only the compilers are told of the counters, not the linker: the library takes them from the program it is loaded into.
counters="-Xswiftc -Xfrontend -Xswiftc -sanitize=fuzzer -Xcc -fsanitize=fuzzer-no-link"
case $kind in
    shipped) library=${FUZZ_LIBRARY:-$root/.build/release} sanitizers=fuzzer ;;
    coverage | edges)
        library=$work/coverage/release sanitizers=fuzzer
        (cd "$root" && "$swift" build -c release --product diffaccel --scratch-path "$work/coverage" $counters) >"$work/build.log" \
            || { tail -20 "$work/build.log" >&2; exit 2; }
        ;;
    address)
        library=$work/address/release sanitizers=fuzzer,address
        (cd "$root" && "$swift" build -c release --product diffaccel --scratch-path "$work/address" --sanitize address $counters) \
            >"$work/build.log" || { tail -20 "$work/build.log" >&2; exit 2; }
        ;;
    *) echo "no kind \"$kind\"" >&2; exit 2 ;;
esac

# Targets that call the library's Swift modules: linked with their objects.
link_reader() {
    modules="CKernels CRanks DiffTensor DiffCheckpoint CTokenizerData DiffModels"
    # Those of the sources there are: a build folder may hold others from before.
    objects=$(for module in $modules; do
        find "$root/Sources/$module" -name '*.swift' -o -name '*.c' | while read -r source; do
            echo "$library/$module.build/$(basename "$source").o"
        done
    done)
    maps=$(for module in CKernels CRanks CTokenizerData; do echo "-Xcc -fmodule-map-file=$library/$module.build/module.modulemap"; done)
    reader=$(echo "$1" | sed 's/layout/Layout/; s/lora/LoRA/')
    "${swift}c" -O -parse-as-library -swift-version 6 -sanitize=$sanitizers -I"$library/Modules" $maps \
        -Xcc -fmodule-map-file="$root/Sources/CJansson/module.modulemap" "$here/readers/Input.swift" "$here/readers/$reader.swift" $objects \
        -o "$work/bin/$1-$kind" -ljansson -Xlinker -export-dynamic >"$work/link.log" 2>&1 || { cat "$work/link.log" >&2; exit 2; }
}

link_target() {
    sources="$here/targets/$1.c $here/fuzz.c $here/weights.c"
    case $1 in
        folder) limits=-max_len=48 ;;
        api) sources="$sources $here/targets/api_arguments.c" limits="-max_len=400 -len_control=0" ;;
        spiece) sources="$sources $here/tokens.c" ;;
        tokenizer | unigram | clip_vocabulary) sources="$sources $here/tokens.c $here/mutator.c" ;;
        request) sources="$sources $here/targets/api_arguments.c $here/mutator.c" ;;
        *) sources="$sources $here/mutator.c" ;;
    esac
    ln -sf libdiffaccel.so "$library/libdiffaccel.so.0" # the name that programs ask the loader for
    # The linker keeps the first of two definitions, which is ours.
    [ "$kind" != edges ] || sources="-Wl,--allow-multiple-definition $here/comparisons_off.c $sources"
    "$clang" -std=gnu17 -O2 -g -Wall -Wextra -Werror -fsanitize=$sanitizers -I"$root/include" $sources \
        -o "$work/bin/$1-$kind" -L"$library" -ldiffaccel -Wl,-rpath,"$library" -Wl,--export-dynamic 2>"$work/link.log" \
        || { cat "$work/link.log" >&2; exit 2; }
}

run() {
    limits="-max_len=2048 -dict=$here/json.dict"
    case $1 in
        layout | lora)
            limits=-max_len=64
            link_reader "$1"
            ;;
        *) link_target "$1" ;;
    esac
    kept=$(mktemp -d)
    seeds=
    [ ! -d "$here/corpus/$1" ] || seeds=$here/corpus/$1
    # The clock is only there to notice a hang: it runs on while a machine is suspended.
    began=$(date +%s)
    if "$work/bin/$1-$kind" -runs="$inputs" -seed="$seed" $limits -timeout=300 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$work/found/$1-" "$kept" $seeds >"$work/$1-$kind.log" 2>&1; then
        echo "$1: $inputs inputs, seed $seed, $kind library: $(($(date +%s) - began)) s, passed"
    else
        echo "$1: FAILED, see $work/$1-$kind.log"
        grep -E 'status|ERROR|SUMMARY|Test unit' "$work/$1-$kind.log" | head -10
        failed=1
    fi
    rm -rf "$kept"
}

failed=0
[ "$target" != all ] || target=$all
for name in $target; do run "$name"; done
exit $failed
