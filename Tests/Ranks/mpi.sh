# For the scripts that start ranks: sourced. `mpi` is openmpi or mpich, `count` the number of ranks, `build` the folder of the build.
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_btl_base_warn_component_unused=0
keep= passed=0 failures=0 limit=60

# plugin: points the library to the plug-in for $mpi.
plugin() {
    case $mpi in
        openmpi) DIFFACCEL_MPI_PLUGIN=$build/libdiffaccel_mpi.so ;;
        mpich) DIFFACCEL_MPI_PLUGIN=$build/mpich/libdiffaccel_mpi.so ;;
        *) echo "no MPI \"$mpi\"" >&2; exit 2 ;;
    esac
    [ -f "$DIFFACCEL_MPI_PLUGIN" ] || { echo "no $DIFFACCEL_MPI_PLUGIN: make mpi MPI=$mpi" >&2; exit 2; }
    export DIFFACCEL_MPI_PLUGIN
}

# launch ARGUMENTS...: mpirun with these; $keep are further options.
launch() {
    case $mpi in
        openmpi) timeout -k 5 $limit mpirun.openmpi --allow-run-as-root --oversubscribe --mca mpi_yield_when_idle 1 $keep "$@" ;;
        mpich) timeout -k 5 $limit mpiexec.mpich $keep "$@" ;;
    esac 2>&1
}

pass() { passed=$((passed + 1)); }
fail() {
    failures=$((failures + 1))
    echo "FAILED: $mpi: $1" >&2
}
