#!/usr/bin/env bash
# Sampling on ranks of this machine beside the sequential executor, bit for bit: sample.sh FOLDER_OF_THE_BUILD [MPI...]
#
# Models of the repository, through the command line, C and Python; then what ends a run: a rank that is killed or interrupted, another
# checkpoint, another version. DIFFACCEL_PYTHON is a Python with numpy; without one that part is left out, and said so. With SHORT set
# only some of it is run, in about a minute.
set -u
here=$(realpath "$(dirname "$0")") root=$(realpath "$(dirname "$0")/../..") build=$(realpath "${1:-.build/release}")
shift
. "$here/mpi.sh"
cli=$build/diffaccel-cli model=$root/Models/emoji-sd
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${DIFFACCEL_PYTHON:-$root/.venv/bin/python}

# One thread a rank: there are more ranks than processors.
draw() { echo "$cli" sample "$1" --threads 1 --quiet --seed 5 "${@:2}"; }

long() { [ -n "${SHORT:-}" ] || "$@"; }

# same NAME RANKS ARGUMENTS...: ranks give the latents that one process gives.
same() {
    local name=$1 ranks=$2
    shift 2
    rm -f "$work"/*.safetensors
    $(draw "$@") --executor sequential --latents "$work/one.safetensors" || { fail "$name: one process"; return; }
    launch -n "$ranks" $(draw "$@") --executor mpi --latents "$work/ranks.safetensors" >"$work/output" || {
        fail "$name: $(cat "$work/output")"
        return
    }
    if cmp -s "$work/one.safetensors" "$work/ranks.safetensors"; then pass; else fail "$name: other bits"; fi
}

# process RANK: the number of the process that is this rank of the run.
process() {
    local variable=OMPI_COMM_WORLD_RANK
    [ "$mpi" = openmpi ] || variable=PMI_RANK
    for folder in /proc/[0-9]*; do
        if [ "$(readlink "$folder/exe" 2>/dev/null)" = "$(realpath "$cli")" ] \
            && tr '\0' '\n' <"$folder/environ" 2>/dev/null | grep -qx "$variable=$1"; then
            echo "${folder#/proc/}"
            return
        fi
    done
}

# during RANK SIGNAL: a run of two ranks, one of which gets the signal in the middle of it; the output is in $work/output.
during() {
    launch -n 2 $(draw "$model" --prompt apple --steps 900 --plan async:2) --executor mpi --latents "$work/none.safetensors" \
        >"$work/output" &
    local job=$! began=$SECONDS
    sleep 4
    local victim
    victim=$(process "$1")
    [ -n "$victim" ] && kill -s "$2" "$victim"
    wait $job
    seconds=$((SECONDS - began))
    rm -f "$work/none.safetensors"
}

# told PATTERN: what the last run said.
told() {
    if grep -qE "$2" "$work/output"; then pass; else fail "$1: no /$2/ in: $(cat "$work/output")"; fi
}

ln -sf libdiffaccel.so "$build/libdiffaccel.so.0" # the name that programs ask the loader for
cc -std=c17 -Wall -Wextra -Werror -I"$root/include" "$here/session.c" -o "$work/session" -L"$build" -ldiffaccel -Wl,-rpath,"$build" || exit 2

for mpi in "${@:-openmpi}"; do
    plugin
    same "emoji-sd, two components" 2 "$model" --prompt apple --steps 8 --plan async:2
    long same "emoji-sd, three components" 3 "$model" --prompt apple --prompt leaf --steps 6 --plan async:3
    long same "emoji-sd, four components" 4 "$model" --prompt apple --steps 6 --plan async:4:1:2
    same "emoji-sd, stride 2" 3 "$model" --prompt apple --steps 9 --plan async:2:2
    long same "emoji-sd, three components, stride 2" 4 "$model" --prompt apple --steps 8 --plan async:3:2:3
    long same "emoji-sd, guidance in lanes" 2 "$model" --prompt apple --steps 6 --plan async:2 --guidance-execution lanes
    long same "fashion-dit" 3 "$root/Models/fashion-dit" --labels 3,5 --steps 8 --plan async:3
    same "fashion-uvit" 2 "$root/Models/fashion-uvit" --labels 3,5 --steps 8 --plan async:2

    # Halves of guidance on two ranks are the plain model's.
    rm -f "$work"/*.safetensors
    $(draw "$model") --prompt apple --steps 6 --latents "$work/one.safetensors"
    launch -n 2 $(draw "$model") --prompt apple --steps 6 --guidance-execution ranks --latents "$work/ranks.safetensors" >"$work/output"
    if cmp -s "$work/one.safetensors" "$work/ranks.safetensors"; then pass; else fail "guidance: $(cat "$work/output")"; fi

    # Tiles of the decoder, and pictures of a batch, on all ranks.
    picture() {
        local name=$1 ranks=$2
        shift 2
        rm -f "$work"/*.png
        $(draw "$model" "$@") --executor sequential --out "$work/one.png" >"$work/output" 2>&1 || { fail "$name: $(cat "$work/output")"; return; }
        launch -n "$ranks" $(draw "$model" "$@") "${extra[@]}" --out "$work/ranks.png" >"$work/output" || { fail "$name: $(cat "$work/output")"; return; }
        if cmp -s "$work/one.png" "$work/ranks.png"; then pass; else fail "$name: another picture"; fi
    }
    # Cut in one place whatever the size: an even cut would be made for the size of the model's own pictures by ranks that load only a part.
    echo '{"methods": [{"method": "async", "split": [["conv_in", "down_blocks", "mid_block"], ["up_blocks", "conv_norm_out", "conv_out"]]}]}' \
        >"$work/halves.json"
    extra=(--executor mpi)
    picture "tiles beside components" 2 --prompt apple --steps 4 --size 192x256 --tile 16 --plan "$work/halves.json"
    long picture "pictures beside components" 2 --prompt apple --count 4 --batch 4 --steps 4 --plan "$work/halves.json"
    extra=(--executor mpi --guidance-execution ranks)
    long picture "tiles beside components and rows" 4 --prompt apple --steps 4 --size 192x256 --tile 16 --plan "$work/halves.json"

    # Rank 0 has the picture, from C and from Python.
    plan='{"methods": [{"method": "async", "components": 2, "executor": "mpi"}]}'
    launch -n 2 "$work/session" "$model" "$plan" | sort >"$work/c"
    if [ "$(grep -c . "$work/c")" = 2 ] && grep -q '^no picture$' "$work/c" && grep -q '^picture ' "$work/c"; then pass; else fail "C: $(cat "$work/c")"; fi
    if "$python" -c 'import numpy' 2>/dev/null; then
        DIFFACCEL_LIBRARY=$build/libdiffaccel.so launch -n 2 "$python" "$here/session.py" "$model" 2 | sort >"$work/python"
        if cmp -s "$work/c" "$work/python"; then pass; else fail "Python: $(cat "$work/python") beside $(cat "$work/c")"; fi
    else
        echo "no Python with numpy ($python): its ranks are left out" >&2
    fi

    # The launcher may end the others before they can speak; what counts is that all is over.
    during 1 KILL
    if [ $seconds -lt 20 ]; then pass; else fail "a killed rank: over after $seconds s"; fi
    [ -z "${SHORT:-}" ] || continue
    during 1 INT
    told "an interrupted rank" "cancelled"
    if [ $seconds -lt 20 ]; then pass; else fail "an interrupted rank: over after $seconds s"; fi

    # Other files on one rank, and another version of the library.
    cp -r "$model" "$work/other"
    weights=$(ls "$work"/other/unet/*.safetensors | head -1)
    printf '\x01' | dd of="$weights" bs=1 seek=$(($(stat -c %s "$weights") - 2)) conv=notrunc status=none
    run() { launch -n 1 $(draw "$model" --prompt a --steps 4 --plan async:2) --executor mpi --latents "$work/x.safetensors" : \
        -n 1 "$@" --executor mpi --latents "$work/x.safetensors" >"$work/output"; }
    run $(draw "$work/other" --prompt a --steps 4 --plan async:2)
    told "another checkpoint" "rank 1 \(host .*\) has another checkpoint than rank 0"
    run $(draw "$model" --prompt b --steps 4 --plan async:2)
    told "another request" "rank 1 \(host .*\) has another request than rank 0.*\"b\".*\"a\""
    run $(draw "$model" --prompt a --steps 4 --plan async:2:1:2)
    told "another plan" "rank 1 \(host .*\) has another plan than rank 0"
    version=$("$cli" --version | sed 's/.* //')
    sed "s/$version/9.9.9/g" "$cli" >"$work/cli" && chmod +x "$work/cli"
    run "$work/cli" $(draw "$model" --prompt a --steps 4 --plan async:2 | cut -d' ' -f2-)
    told "another version" "rank 1 \(host .*\) has another version of the library than rank 0.*9\.9\.9"
    launch -n 3 $(draw "$model" --prompt a --steps 4 --plan async:2) --executor mpi --latents "$work/x.safetensors" >"$work/output"
    told "one rank too many" "needs 2 ranks, and 3 were started"
    rm -rf "$work/other"
done
echo "sampling on ranks: $passed expectations met, $failures not"
[ "$failures" = 0 ]
