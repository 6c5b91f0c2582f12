public import DiffModels
public import DiffSampling
public import DiffTensor
import Glibc

/// The forward and backward passes of one router iteration, all random draws given: the network is frozen, the router's row learns.
///
/// Source: the official `train_router.py` of Learning-to-Cache. A full pass at the respaced index i keeps all sub-layer outputs; one DDIM step
/// leads to i - 1; there the plain network is the teacher, and the network that blends fresh and kept outputs the student.
/// Used by one thread.
public final class RouterStep {
    /// What a student's pass showed.
    public struct Outcome: Sendable {
        /// Raw outputs [batch, channels, h, w].
        public let teacher, student: Tensor
        /// Mean of the squared difference over channels and pixels, per sample.
        public let errors: [Double]
        /// Gradient of the mean of `errors` with respect to the weights of the fresh outputs, one for each sub-layer.
        public let gradient: [Float]
        /// The mean of `errors`.
        public var error: Double { errors.mean }
    }

    /// The process on the sampler's steps; index 0 is the cleanest.
    public let schedule: DiffusionSchedule
    private let sampler: DDIMSampler
    /// Attention and MLP sites in the order of the router's columns.
    public let sublayers: [Site]
    private let network: DiT
    private let blend: RouterBlend
    private let weights: Tensor
    private let gradients: ParameterGradients
    private let node: Int
    private let recomputes: Bool

    /// A step of `network`, which must have been loaded for learning (row-major f32). With `recomputes` blocks keep their input only and
    /// are computed again in the backward pass.
    public init(
        _ network: DiT, _ schedule: DiffusionSchedule, budget: MemoryBudget?, recomputes: Bool = false,
        isVirtual: Bool = false
    ) throws(DiffError) {
        (self.network, self.schedule, self.recomputes) = (network, schedule, recomputes)
        sampler = try DDIMSampler(schedule)
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

    /// x_i = √ᾱ_i x0 + √(1 - ᾱ_i) noise with the respaced ᾱ.
    public func noised(_ x0: Tensor, _ noise: Tensor, index: Int, _ run: Run) throws(DiffError) -> Tensor {
        let product = schedule.alphasCumulative.at(index) ?? 1
        return try run.combine(Float(product.squareRoot()), x0, Float((1 - product).squareRoot()), noise)
    }

    /// A full pass at `index` over `x` [batch, C, h, w] that keeps every sub-layer's output; gives the network's raw output.
    public func full(_ x: Tensor, labels: [Int], index: Int, _ run: Run) throws(DiffError) -> Tensor {
        blend.mode = .keep
        defer { blend.mode = .plain }
        return try evaluate(x, labels, index, run)
    }

    /// A cached step at `index` as at inference: sub-layers for which `keeps` says so are computed and kept anew, the others' outputs
    /// are those of the last step that computed them. Gives the network's raw output.
    public func cached(
        _ x: Tensor, labels: [Int], index: Int, keeps: [Bool], _ run: Run
    ) throws(DiffError) -> Tensor {
        blend.mode = .decided(keeps)
        defer { blend.mode = .plain }
        return try evaluate(x, labels, index, run)
    }

    /// The plain network's raw output at `index`.
    public func plain(_ x: Tensor, labels: [Int], index: Int, _ run: Run) throws(DiffError) -> Tensor {
        try evaluate(x, labels, index, run)
    }

    /// The DDIM step (eta 0) from `index` to the next cleaner one with the raw `output`.
    public func advance(_ x: Tensor, _ output: Tensor, index: Int, _ run: Run) throws(DiffError) -> Tensor {
        var sampler = sampler
        sampler.start(at: schedule.count &- 1 &- index)
        return try sampler.step(x, output.detached, run) { () throws(DiffError) in try run.zeros(x.shape) }.state
    }

    /// Teacher and student at `index`, and the gradient of their difference. `scores` are the weights of the fresh outputs, 0...1.
    public func compare(
        _ x: Tensor, labels: [Int], index: Int, scores: [Float], _ run: Run
    ) throws(DiffError) -> Outcome {
        try set(scores)
        let teacher = try evaluate(x, labels, index, run)
        gradients.clear()
        let tape = Tape(gradients, recomputes: recomputes)
        let result = try run.recording(tape) { () throws(DiffError) in
            blend.mode = .blend
            defer { blend.mode = .plain }
            let student = try evaluate(x, labels, index, run)
            let loss = try run.squaredError(student, teacher, weight: 1 / Double(max(1, student.shape.count)))
            try tape.pass(loss.gradient, to: student, run)
            try tape.backward(run)
            return (student.detached, loss.means)
        }
        let gradient = gradients[node]?.array ?? []
        return Outcome(
            teacher: teacher, student: result.0, errors: result.1,
            gradient: gradient.isEmpty ? Array(repeating: 0, count: sublayers.count) : gradient)
    }

    /// The student alone, without gradient: the raw output of the network that blends by `scores`.
    public func student(
        _ x: Tensor, labels: [Int], index: Int, scores: [Float], _ run: Run
    ) throws(DiffError) -> Tensor {
        try set(scores)
        blend.mode = .blend
        defer { blend.mode = .plain }
        return try evaluate(x, labels, index, run)
    }

    private func set(_ scores: [Float]) throws(DiffError) {
        guard scores.count == weights.shape.count else {
            throw DiffError(.shape, "\(scores.count) scores for \(weights.shape.count) sub-layers")
        }
        guard let base = unsafe weights.floats else { return }
        for (index, score) in scores.numbered { unsafe base[index] = score }
    }

    private func evaluate(_ x: Tensor, _ labels: [Int], _ index: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard let timestep = schedule.timesteps.at(index) else {
            throw DiffError(.invalidArgument, "no step \(index) among \(schedule.count)")
        }
        let t = try run.filled(x.shape[0], with: Float(timestep))
        return try network(x, t: t, y: labels, run)
    }
}

extension Run {
    /// Per sample the mean of (x - target)², and the gradient of `weight` times the sum of all squares with respect to `x`.
    func squaredError(
        _ x: Tensor, _ target: Tensor, weight: Double
    ) throws(DiffError) -> (means: [Double], gradient: Tensor) {
        guard x.shape == target.shape, x.shape.rank > 0 else {
            throw DiffError(.shape, "\(x.shape) cannot be compared with \(target.shape)")
        }
        let gradient = try workspace.take(x.shape)
        let samples = x.shape[0]
        var means = Array(repeating: 0.0, count: max(0, samples))
        guard !isDry, let a = unsafe x.floats, let b = unsafe target.floats, let g = unsafe gradient.floats else {
            return (means, gradient)
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
            means.put(sum / Double(max(1, each)), at: sample)
        }
        return (means, gradient)
    }
}
