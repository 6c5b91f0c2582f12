public import DiffModels
public import DiffTensor
import Glibc

/// The forward and backward passes of one router iteration, all random draws given: the network is frozen, the router's row learns.
///
/// Source: the official `train_router.py` of Learning-to-Cache. Full passes keep all sub-layer outputs; the sampler leads from them to a
/// cached call; there the plain network is the teacher, and the network that blends fresh and kept outputs the student.
/// Used by one thread.
public final class RouterStep {
    /// What a student's pass showed.
    public struct Outcome: Sendable {
        /// Raw outputs [batch, channels, h, w].
        public let teacher, student: Tensor
        /// Mean or sum of the squared difference over channels and pixels, per sample: ``RouterProcess/sumsErrors``.
        public let errors: [Double]
        /// Gradient of the mean of `errors` with respect to the weights of the fresh outputs, one for each sub-layer.
        public let gradient: [Float]
        /// The mean of `errors`.
        public var error: Double { errors.mean }
    }

    /// What belongs to the network's family.
    public let process: RouterProcess
    /// Attention and MLP sites in the order of the router's columns.
    public let sublayers: [Site]
    private let network: any Denoiser
    private let blend: RouterBlend
    private let weights: Tensor
    private let gradients: ParameterGradients
    private let node: Int
    private let recomputes: Bool

    /// A step of `network`, all of whose ops have a way back, and which must have been loaded for learning (row-major f32). With `recomputes` blocks keep their input only and
    /// are computed again in the backward pass.
    public init(
        _ network: any Denoiser, _ process: RouterProcess, budget: MemoryBudget?, recomputes: Bool = false,
        isVirtual: Bool = false
    ) throws(DiffError) {
        (self.network, self.process, self.recomputes) = (network, process, recomputes)
        sublayers = network.sublayers
        let count = try Shape(sublayers.count)
        let bytes = count.count &* 4
        let block = isVirtual ? Storage(virtual: bytes) : try Storage(byteCount: bytes, budget: budget)
        let parameters = Parameters()
        weights = parameters.add(["router"], try Tensor(block, count), trained: true)
        gradients = try ParameterGradients(parameters, budget: budget, isVirtual: isVirtual)
        node = 0
        blend = RouterBlend(sublayers, weights: weights)
    }

    /// The methods of a run that performs this step.
    public var stack: AccelerationStack { AccelerationStack([blend]) }

    /// Bytes of the scores and their gradient.
    var heldBytes: Int { 2 &* weights.storage.byteCount }

    /// A full pass at call `call` over `x` [batch, C, h, w] that keeps every sub-layer's output; gives the network's raw output.
    public func full(_ x: Tensor, labels: [Int], call: Int, _ run: Run) throws(DiffError) -> Tensor {
        blend.mode = .keep
        defer { blend.mode = .plain }
        return try evaluate(x, labels, call, run)
    }

    /// A cached call `call` as at inference: sub-layers for which `computes` says so are computed and kept again, the others' outputs
    /// are those of the last call that computed them. Gives the network's raw output.
    public func cached(
        _ x: Tensor, labels: [Int], call: Int, computes: [Bool], _ run: Run
    ) throws(DiffError) -> Tensor {
        blend.mode = .decided(computes)
        defer { blend.mode = .plain }
        return try evaluate(x, labels, call, run)
    }

    /// The plain network's raw output at call `call`.
    public func plain(_ x: Tensor, labels: [Int], call: Int, _ run: Run) throws(DiffError) -> Tensor {
        try evaluate(x, labels, call, run)
    }

    /// Teacher and student at call `call`, and the gradient of their difference. `scores` are the weights of the fresh outputs, 0...1.
    public func compare(
        _ x: Tensor, labels: [Int], call: Int, scores: [Float], _ run: Run
    ) throws(DiffError) -> Outcome {
        try set(scores)
        let teacher = try evaluate(x, labels, call, isTraining: true, run)
        gradients.clear()
        let tape = Tape(gradients, recomputes: recomputes)
        let result = try run.recording(tape) { () throws(DiffError) in
            blend.mode = .blend
            defer { blend.mode = .plain }
            let student = try evaluate(x, labels, call, isTraining: true, run)
            let samples = max(1, student.shape[0])
            let divisor = process.sumsErrors ? 1 : student.shape.count / samples
            let loss = try run.squaredError(
                student, teacher, divisor: divisor, weight: 1 / Double(max(1, samples &* divisor)))
            try tape.pass(loss.gradient, to: student, run)
            try tape.backward(run)
            return (student.detached, loss.errors)
        }
        let gradient = gradients[node]?.array ?? []
        return Outcome(
            teacher: teacher, student: result.0, errors: result.1,
            gradient: gradient.isEmpty ? Array(repeating: 0, count: sublayers.count) : gradient)
    }

    /// The student alone, without gradient: the raw output of the network that blends by `scores`.
    public func student(
        _ x: Tensor, labels: [Int], call: Int, scores: [Float], _ run: Run
    ) throws(DiffError) -> Tensor {
        try set(scores)
        blend.mode = .blend
        defer { blend.mode = .plain }
        return try evaluate(x, labels, call, isTraining: true, run)
    }

    private func set(_ scores: [Float]) throws(DiffError) {
        guard scores.count == weights.shape.count else {
            throw DiffError(.shape, "\(scores.count) scores for \(weights.shape.count) sub-layers")
        }
        guard let base = unsafe weights.floats else { return }
        for (index, score) in scores.numbered { unsafe base[index] = score }
    }

    private func evaluate(
        _ x: Tensor, _ labels: [Int], _ call: Int, isTraining: Bool = false, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard let timestep = (isTraining ? process.trainingTimesteps : process.timesteps).at(call) else {
            throw DiffError(.invalidArgument, "no network call \(call) among \(process.timesteps.count)")
        }
        let t = try run.filled(x.shape[0], with: Float(timestep))
        // Labels of data that an unconditional network learns from say nothing.
        return try network(x, t: t, y: network.classRows > 0 ? labels : [], run)
    }
}

extension Run {
    /// Per sample the sum of (x - target)² over `divisor`, and the gradient of `weight` times the sum of all squares with respect to `x`.
    func squaredError(
        _ x: Tensor, _ target: Tensor, divisor: Int, weight: Double
    ) throws(DiffError) -> (errors: [Double], gradient: Tensor) {
        guard x.shape == target.shape, x.shape.rank > 0 else {
            throw DiffError(.shape, "\(x.shape) cannot be compared with \(target.shape)")
        }
        let gradient = try workspace.take(x.shape)
        let samples = x.shape[0]
        var errors = Array(repeating: 0.0, count: max(0, samples))
        guard !isDry, let a = unsafe x.floats, let b = unsafe target.floats, let g = unsafe gradient.floats else {
            return (errors, gradient)
        }
        let each = x.shape.count / max(1, samples)
        let factor = Float(2 * weight)
        for sample in Indices(below: samples) {
            var sum = 0.0
            for index in Indices(below: each) {
                let at = sample &* each &+ index
                let difference = unsafe a[at] - b[at]
                sum += Double(difference) * Double(difference)
                unsafe g[at] = factor * difference
            }
            errors.put(sum / Double(max(1, divisor)), at: sample)
        }
        return (errors, gradient)
    }
}
