public import DiffTensor

/// Where a sampler's noise comes from: seeds, or tensors of the caller.
///
/// With one seed the draws are those of torch's CPU generator for the whole batch: the start noise for all samples at once, then, in
/// every step, one tensor for all. With a seed for each sample they are those of as many generators, so that a sample does not depend on
/// those beside it.
public struct NoiseSource: Sendable {
    /// What the draws begin with; of several seeds the first.
    public let seed: UInt64
    /// Whether steps draw for the whole network batch (twice the samples under guidance, of which the first half is used), as the official
    /// DiT script does; diffusers draws for the samples.
    public let drawsBothHalves: Bool
    /// One for all samples, or one for each.
    private var generators: [TorchRandom]
    private let start: Tensor?
    private let steps: Tensor?
    /// What ``initial(_:_:)`` gave first.
    private var begun: Tensor?

    /// Noise from `seed`; `start` [n, C, h, w] and `steps` [count, n, C, h, w], where given, are used instead of draws.
    public init(seed: UInt64, start: Tensor? = nil, steps: Tensor? = nil) {
        self.init(seeds: [seed], start: start, steps: steps, drawsBothHalves: true)
    }

    /// Noise from one seed for all samples, or one for each; `start` and `steps` as above.
    public init(seeds: [UInt64], start: Tensor? = nil, steps: Tensor? = nil, drawsBothHalves: Bool = false) {
        seed = seeds.first ?? 0
        generators = seeds.map { TorchRandom(seed: $0) }
        (self.start, self.steps, self.drawsBothHalves) = (start, steps, drawsBothHalves)
    }

    /// Whether each sample has a generator of its own.
    public var isPerSample: Bool { generators.count > 1 }

    /// Throws `notFinite` when noise of the caller holds NaN or infinity.
    public func requireFinite(_ run: Run) throws(DiffError) {
        if let start { try run.requireFinite(start, "noise") }
        if let steps { try run.requireFinite(steps, "step_noise") }
    }

    /// Standard normal values of `shape` [n, …], one sample for each generator where there are several: for draws of a pipeline's own
    /// before and between those of the sampler.
    public mutating func draw(_ shape: Shape, _ run: Run) throws(DiffError) -> Tensor {
        if generators.count == 1, var one = generators.first {
            defer { generators.put(one, at: 0) }
            return try run.randomNormal(shape, &one)
        }
        let all = try run.workspace.take(shape)
        guard generators.count == shape[0] else {
            throw DiffError(.invalidArgument, "\(generators.count) seeds for \(shape[0]) samples")
        }
        for (row, generator) in generators.numbered {
            var generator = generator
            try run.store(run.randomNormal(shape.replacingFirst(1), &generator), in: all, row: row)
            generators.put(generator, at: row)
        }
        return all
    }

    /// The start noise, the same however often it is asked for. Throws `shape` when the given one has another shape.
    public mutating func initial(_ shape: Shape, _ run: Run) throws(DiffError) -> Tensor {
        if let begun { return begun }
        let noise = try beginning(shape, run)
        begun = noise
        return noise
    }

    private mutating func beginning(_ shape: Shape, _ run: Run) throws(DiffError) -> Tensor {
        guard let start else { return try draw(shape, run) }
        guard start.shape == shape else {
            throw DiffError(.shape, "start noise \(start.shape), expected \(shape)")
        }
        // The draws it replaces are still made: otherwise noise that came from the same seed would come again in the steps.
        if steps == nil { _ = try draw(shape, run) }
        return start
    }

    /// The noise of sampling step `step` for `shape` [n, …], drawn as part of a batch of `drawn` samples.
    mutating func next(_ step: Int, _ shape: Shape, drawn: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard let steps else {
            let drawn = generators.count > 1 ? shape[0] : drawn
            return try draw(shape.replacingFirst(drawn), run).rows(0, shape[0])
        }
        let one = try steps.rows(step, 1)
        guard one.shape.count == shape.count else {
            throw DiffError(.shape, "step noise \(steps.shape), expected a tensor of \(shape) per step")
        }
        return try one.reshaped(shape)
    }
}
