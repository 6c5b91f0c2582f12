"""Seconds of one forward of DiT on any number of cores, from figures measured on one. scaling.md derives it."""

import dataclasses
import math

#: Parallel calls of a block beside its linear layers: two norms, attention, two gated additions.
OTHER_CALLS_PER_BLOCK = 5


@dataclasses.dataclass
class Machine:
    """What the machine does with one core and with p of them."""

    fma: float  #: FLOP/s of one core's multiply-add loop
    read: float  #: bytes a second that one core reads from memory
    read_limit: float  #: bytes a second that all cores together can read
    barrier: float  #: seconds that a parallel call costs per thread beyond the caller
    fma_of: dict = dataclasses.field(default_factory=dict)  #: measured rates of p cores together, where known
    read_of: dict = dataclasses.field(default_factory=dict)

    def arithmetic(self, p):
        return self.fma_of.get(p, p * self.fma)

    def bandwidth(self, p):
        return self.read_of.get(p, min(p * self.read, self.read_limit))


@dataclasses.dataclass
class Network:
    """What one forward asks for."""

    flops: float  #: in all
    layers: list  #: (FLOPs, bytes of weights, one row per sample?, tasks by number of threads) of each linear layer
    blocks: int
    serial: float  #: seconds that only the calling thread works: shapes, memory, decisions between the kernels

    @property
    def calls(self):
        return len(self.layers) + OTHER_CALLS_PER_BLOCK * self.blocks


def uneven(tasks, p):
    """Time lost because tasks do not divide by threads: 1 when they do."""
    return p * math.ceil(tasks / p) / tasks


def parts(network, machine, efficiency, p):
    """Seconds of a forward by where they go. `efficiency`: of the kernels, against the multiply-add loop on one core."""
    matrices = vectors = linear = 0.0
    waiting = 0.0
    for flops, size, streamed, tasks in network.layers:
        memory = size / machine.bandwidth(p)
        if streamed:
            vectors += memory
            continue
        linear += flops
        compute = flops / (efficiency * machine.arithmetic(p))
        matrices += max(compute, memory)
        waiting += max(compute * uneven(tasks[p], p), memory) - max(compute, memory)
    # Attention, norms and additions are cut finely, stay in the caches and go with the arithmetic.
    rest = (network.flops - linear) / (efficiency * machine.arithmetic(p))
    barriers = network.calls * machine.barrier * (p - 1)
    return {"matrices": matrices, "attention and the rest": rest, "streamed weights": vectors, "uneven tasks": waiting,
            "barriers": barriers, "serial": network.serial}


def seconds(network, machine, efficiency, p):
    return sum(parts(network, machine, efficiency, p).values())


def efficiency_of(network, machine, measured):
    """The kernels' efficiency that makes the model agree with the forward measured on one core."""
    fixed = parts(network, machine, 1.0, 1)
    arithmetic = fixed["matrices"] + fixed["attention and the rest"]
    remaining = measured - fixed["streamed weights"] - network.serial
    if remaining <= 0:
        raise ValueError("the measured forward is shorter than reading its weights")
    return arithmetic / remaining
