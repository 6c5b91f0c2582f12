#!/usr/bin/env bash
# Ranks in network namespaces of one machine, joined by a network of a chosen speed.
#
#   async_network.sh NODES MEGABITS MILLISECONDS COMMAND...    COMMAND as one rank a node; needs root, ip (iproute2) and tc
#   async_network.sh agent HOST COMMAND...                     what mpirun starts a node's part with
#
# Every node is a namespace with one interface, all on one bridge; what a node sends and what it receives passes a token bucket of that rate
# each. Where the kernel has netem, packets wait half of the round trip's delay at each end; else the delay is what the kernel's own
# path takes, and that is said. The MPI is Open MPI, over TCP.
set -eu

prefix=async-node subnet=10.77.13

if [ "${1:-}" = agent ]; then
    shift
    node=${1##*.}
    shift
    exec ip netns exec "$prefix$node" sh -c "$*"
fi

nodes=$1 rate=$2 delay=$3
shift 3

clean() {
    for ((node = 0; node <= nodes; node++)); do ip netns del "$prefix$node" 2>/dev/null || true; done
}
trap clean EXIT
clean

# shape NAMESPACE INTERFACE
shape() {
    # A millisecond's worth of bytes at once, and room for 50 ms.
    local burst=$((rate * 125 > 131072 ? rate * 125 : 131072))
    if [ "$delay" != 0 ] && ip netns exec "$1" tc qdisc add dev "$2" root handle 1: netem delay "${delay}ms" limit 100000 2>/dev/null; then
        ip netns exec "$1" tc qdisc add dev "$2" parent 1: handle 2: tbf rate "${rate}mbit" burst "$burst" latency 50ms
    else
        has_netem=0
        ip netns exec "$1" tc qdisc add dev "$2" root tbf rate "${rate}mbit" burst "$burst" latency 50ms
    fi
}

has_netem=1
ip netns add ${prefix}0
ip -n ${prefix}0 link add bridge type bridge
ip -n ${prefix}0 link set bridge up
hosts=
for ((node = 1; node <= nodes; node++)); do
    ip netns add $prefix$node
    ip -n $prefix$node link set lo up
    ip -n $prefix$node link add eth0 type veth peer name port$node netns ${prefix}0
    ip -n $prefix$node addr add $subnet.$node/24 dev eth0
    ip -n $prefix$node link set eth0 up
    ip -n ${prefix}0 link set port$node master bridge up
    shape $prefix$node eth0
    shape ${prefix}0 port$node
    hosts=$hosts${hosts:+,}$subnet.$node
done
echo "nodes $nodes, rate $rate Mbit/s, delay $([ $has_netem = 1 ] && echo "$delay ms by netem" || echo "as the kernel's path has it (no netem)")"
ip netns exec ${prefix}1 mpirun.openmpi --allow-run-as-root --mca plm_rsh_agent "$(realpath "$0") agent" --mca plm_rsh_no_tree_spawn 1 \
    --mca oob_tcp_if_include $subnet.0/24 --mca btl self,tcp --mca pml ob1 --mca btl_tcp_if_include $subnet.0/24 \
    --mca mpi_yield_when_idle 1 --leave-session-attached --bind-to none -x DIFFACCEL_MPI_PLUGIN -H "$hosts" -n "$nodes" "$@"
