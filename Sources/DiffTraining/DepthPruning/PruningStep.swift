public import DiffModels
public import DiffTensor

/// The forward and backward pass of one step of learnable depth pruning, all random draws given.
///
/// Every block is gated per sample by the gates' masks; gradients of the masks and of whatever else is trained (LoRA factors, all
/// weights, nothing) come from one pass. Source: TinyFusion (arXiv 2412.01199), `prune_by_learning.py`. Used by one thread.
public final class PruningStep {
    /// What a pass showed.
    public struct Outcome: Sendable {
        /// Terms of the loss.
        public let terms: DiffusionLoss.Terms
        /// Gradient of the masks: [blocks][samples].
        public let masks: [[Float]]
        /// The network's raw output.
        public let output: Tensor
    }

    /// Gradients of the trained parameters after a pass.
    public let gradients: ParameterGradients
    /// The training loss.
    public let loss: DiffusionLoss
    private let network: any TrainableDenoiser
    private let gates = BlockGates()
    private let masks: Tensor
    private let node: Int
    private let batch: Int
    private let recomputes: Bool

    /// A step of `network`, whose `parameters` were noted while it was loaded; batches of `batch` samples.
    public init(
        _ network: any TrainableDenoiser, _ parameters: Parameters, _ loss: DiffusionLoss, batch: Int,
        budget: MemoryBudget?,
        recomputes: Bool = false, isVirtual: Bool = false
    ) throws(DiffError) {
        (self.network, self.loss, self.batch, self.recomputes) = (network, loss, batch, recomputes)
        let shape = try Shape(network.layout.blockCount, batch)
        let bytes = shape.count &* 4
        let block = isVirtual ? Storage(virtual: bytes) : try Storage(byteCount: bytes, budget: budget)
        masks = parameters.add(["gate masks"], try Tensor(block, shape), trained: true)
        node = parameters.trained.count &- 1
        gradients = try ParameterGradients(parameters, budget: budget, isVirtual: isVirtual)
    }

    /// The methods of a run that performs this step, `others` inside.
    public func stack(_ others: [any Acceleration] = []) -> AccelerationStack { AccelerationStack([gates] + others) }

    /// One pass over `x0` [batch, C, h, w], with `labels` after label dropout, a timestep and noise per sample, and masks
    /// [blocks][samples].
    public func callAsFunction(
        x0: Tensor, labels: [Int], t: [Int], noise: Tensor, masks values: [[Float]], _ run: Run
    ) throws(DiffError) -> Outcome {
        try set(values)
        gates.masks = masks
        defer { gates.masks = nil }
        gradients.clear()
        let xt = try loss.noised(x0, noise, t, run)
        let times = try run.tensor(t.map(Float.init), Shape(t.count))
        let tape = Tape(gradients, recomputes: recomputes)
        return try run.recording(tape) { () throws(DiffError) in
            let output = try network(xt, t: times, y: labels, run)
            let gradient = try run.zeros(output.shape)
            let terms = try loss.evaluate(output, x0: x0, xt: xt, noise: noise, t: t, addingTo: gradient)
            try tape.pass(gradient, to: output, run)
            try tape.backward(run)
            return Outcome(terms: terms, masks: maskGradients(), output: output.detached)
        }
    }

    private func set(_ values: [[Float]]) throws(DiffError) {
        guard values.count == masks.shape[0], values.allSatisfy({ $0.count == batch }) else {
            throw DiffError(.shape, "masks of \(values.count) blocks for \(masks.shape)")
        }
        guard let base = unsafe masks.floats else { return }
        for (block, row) in values.numbered {
            for (sample, value) in row.numbered { unsafe base[block &* batch &+ sample] = value }
        }
    }

    private func maskGradients() -> [[Float]] {
        let flat = gradients[node]?.array ?? []
        return Indices(below: masks.shape[0]).map { block in
            Indices(below: batch).map { flat.at(block &* batch &+ $0) ?? 0 }
        }
    }
}
