#!/usr/bin/env bash
# Ranks on this machine, started by mpirun: run.sh FOLDER_OF_THE_BUILD [MPI...]
#
# For each MPI (openmpi, mpich) and 2, 3 and 4 ranks: messages, and every way in which a run may end early. Everything ends within a time
# limit; a rank that hangs is a failure. See README.md.
set -u
here=$(realpath "$(dirname "$0")") build=$(realpath "${1:-.build/release}")
shift
. "$here/mpi.sh"
exercise=$build/rank-exercise
# What ranks say, whatever launchers make of their output.
RANKS_LOG=$(mktemp)
export RANKS_LOG
trap 'rm -f "$RANKS_LOG"' EXIT
# expect NAME LINES PATTERN: that many lines of the output match, and the ranks ended in time.
expect() {
    local found
    found=$(grep -cE "$3" "$RANKS_LOG")
    if [ $seconds -lt 55 ] && [ "$found" = "$2" ]; then
        pass
    else
        fail "$count ranks, $1: $found lines of $2 with /$3/, status $status, $seconds s:"
        { cat "$RANKS_LOG"; echo "$output"; } | sed 's/^/    /' >&2
    fi
}

try() { try_in "$exercise" "$@"; }

# The program and its arguments.
try_in() {
    local began=$SECONDS
    : >"$RANKS_LOG"
    output=$(launch -n "$count" "$@")
    status=$? seconds=$((SECONDS - began))
}

for mpi in "${@:-openmpi}"; do
    plugin
    # Survivors of a killed rank are to speak for themselves: the launcher leaves them alone.
    recovery=$([ "$mpi" = openmpi ] && echo --enable-recovery || echo -disable-auto-cleanup)
    for count in 2 3 4; do
        keep=
        for name in messages order overlap; do
            # With more ranks than processors there is nothing to move messages on.
            [ "$name $count" != "overlap 3" ] && [ "$name $count" != "overlap 4" ] || continue
            try $name
            expect $name "$count" "^rank [0-9] of $count ok$"
        done
        last=$((count - 1)) others=$((count - 1))
        try cancel "$last"
        expect cancel "$others" "told: cancelled: rank $last \(host .*\) was cancelled; the next run: ok"
        expect cancel 1 "told: cancelled: cancelled by the caller; the next run: ok"
        try fail "$last"
        expect fail "$others" "told: notFinite: rank $last \(host .*\) failed: the state is not finite; the next run: ok"
        expect fail 1 "told: notFinite: the state is not finite; the next run: ok"
        try decline 0
        expect decline "$others" "told: io: rank 0 \(host .*\) failed: no such model; the next run: ok"
        try facts "$last"
        expect facts "$count" "error: incompatible: rank $last \(host .*\) has another checkpoint than rank 0 \(host .*\): b and a"
        try leave 0
        expect leave "$others" "error: io: rank 0( \(host .*\))? has left: its program ended"
        # Whatever the launcher does, all is over soon.
        try kill "$last"
        expect "kill, launcher's way" 0 "rank [0-9] of $count ok"
        keep=$recovery
        if [ "$mpi" = openmpi ]; then
            try kill "$last"
        else
            # Hydra ends the others for all that: it is not to see the end of the rank.
            try_in sh -c '"$0" "$@"; sleep 2; exit 0' "$exercise" kill "$last"
        fi
        expect kill "$others" "told: io: rank $last \(host .*\) (was killed by signal 9|ended); the next run: rank $last \(host .*\)"
        try exit "$last"
        expect exit "$others" "told: io: rank $last \(host .*\) ended"
        try stop "$last"
        expect stop "$others" "told: io: rank $last \(host .*\) does not answer since [34] s"
    done
    # As if on machines of their own, where no process can be watched: its signs of life cease.
    keep=$recovery count=2
    export DIFFACCEL_RANKS_APART=1
    if [ "$mpi" = openmpi ]; then try kill 1; else try_in sh -c '"$0" "$@"; sleep 6; exit 0' "$exercise" kill 1; fi
    unset DIFFACCEL_RANKS_APART
    expect "kill, far away" 1 "told: io: rank 1 \(host .*\) does not answer since [34] s"
    keep= count=2
    # Started by the other one.
    : >"$RANKS_LOG"
    case $mpi in
        openmpi) output=$(timeout 30 mpiexec.mpich -n 2 "$exercise" messages 2>&1) ;;
        mpich) output=$(timeout 30 mpirun.openmpi --allow-run-as-root --oversubscribe -n 2 "$exercise" messages 2>&1) ;;
    esac
    status=$?
    expect "another launcher" 2 "error: unsupported: this program was started by .*, and the plug-in was built for another MPI"
    export DIFFACCEL_MPI_PLUGIN=/nowhere/libdiffaccel_mpi.so
    try messages
    expect "no plug-in" 2 "error: unsupported: /nowhere/libdiffaccel_mpi.so: no such file. The plug-in for MPI is built by"
done
echo "ranks: $passed expectations met, $failures not"
[ "$failures" = 0 ]
