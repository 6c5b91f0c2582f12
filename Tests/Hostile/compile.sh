#!/bin/sh
# Compiles one program beside this script against a built library.
# Usage: compile.sh verdicts|bytes|io_faults FOLDER_OF_LIBRARY OUTPUT [flag of the compiler ...]
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
program=$1
folder=$2
output=$3
shift 3
sources="$here/$program.c $here/hostile.c $here/meter.c $root/Tests/Fuzz/weights.c"
[ "$program" != verdicts ] || sources="$sources $here/pipelines.c $(echo "$here"/cases_*.c)"
ln -sf libdiffaccel.so "$folder/libdiffaccel.so.0" # the name that programs ask the loader for
exec ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O1 -g "$@" -I"$root/include" \
    -DPIPELINE_DATA="\"$root/bindings/python/tests/data/stable_diffusion.json\"" $sources -o "$output" \
    -L"$folder" -ldiffaccel -Wl,-rpath,"$folder" -ljansson -lm
