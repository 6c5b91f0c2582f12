#!/usr/bin/env bash
# Ranks on this machine, started by mpirun: run.sh FOLDER_OF_THE_BUILD [MPI...]
#
# For each MPI (openmpi, mpich) and 2, 3 and 4 ranks: messages, and every way in which a run may end early. Everything ends within a time
# limit; a rank that hangs is a failure. See README.md.
set -u
build=$(realpath "${1:-.build/release}"); shift
exercise=$build/rank-exercise
failures=0 passed=0
# What ranks say, whatever launchers make of their output.
RANKS_LOG=$(mktemp)
export RANKS_LOG
trap 'rm -f "$RANKS_LOG"' EXIT
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_btl_base_warn_component_unused=0

# mpi N ARGUMENTS...: the ranks' output. Survivors of a killed rank are to speak for themselves: the launcher leaves them alone.
mpi() {
    local count=$1; shift
    case $mpi in
        openmpi) timeout -k 5 60 mpirun.openmpi --allow-run-as-root --oversubscribe --mca mpi_yield_when_idle 1 $keep -n "$count" "$@" ;;
        mpich) timeout -k 5 60 mpiexec.mpich $keep -n "$count" "$@" ;;
    esac 2>&1
}

# expect NAME LINES PATTERN: that many lines of the output match, and the ranks ended in time.
expect() {
    local found
    found=$(grep -cE "$3" "$RANKS_LOG")
    if [ $seconds -lt 55 ] && [ "$found" = "$2" ]; then
        passed=$((passed + 1))
    else
        failures=$((failures + 1))
        echo "FAILED: $mpi, $count ranks, $1: $found lines of $2 with /$3/, status $status, $seconds s:" >&2
        { cat "$RANKS_LOG"; echo "$output"; } | sed 's/^/    /' >&2
    fi
}

try() {
    local began=$SECONDS
    : >"$RANKS_LOG"
    output=$(mpi "$count" "$exercise" "$@")
    status=$? seconds=$((SECONDS - began))
}

for mpi in "${@:-openmpi}"; do
    case $mpi in
        openmpi) recovery=--enable-recovery plugin=$build/libdiffaccel_mpi.so ;;
        mpich) recovery=-disable-auto-cleanup plugin=$build/mpich/libdiffaccel_mpi.so ;;
    esac
    [ -f "$plugin" ] || { echo "no $plugin: make mpi MPI=$mpi" >&2; exit 2; }
    export DIFFACCEL_MPI_PLUGIN=$plugin
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
        try kill "$last"
        expect kill "$others" "told: io: rank $last \(host .*\) (was killed by signal 9|ended); the next run: rank $last \(host .*\)"
        try exit "$last"
        expect exit "$others" "told: io: rank $last \(host .*\) ended"
        try stop "$last"
        expect stop "$others" "told: io: rank $last \(host .*\) does not answer since [34] s"
    done
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
