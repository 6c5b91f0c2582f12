import DiffCheckpoint
import DiffTensor

/// A convolution along time that gives as many rows as it is given.
struct SignalConvolution: Sendable {
    let weights: SignalWeights
    let dilation: Int

    /// `weight` [outputs, inputs, taps] and `bias` at the scope of `w`.
    init(_ w: Weights, _ inputs: Int, _ outputs: Int, taps: Int, dilation: Int = 1) throws(DiffError) {
        weights = try SignalWeights(
            w.wide("weight", [outputs, inputs, taps]), bias: w.vector("bias", outputs), method: w.options.convolution,
            budget: w.options.budget, pool: w.options.pool)
        self.dilation = dilation
    }

    private var before: Int { (weights.taps &- 1) / 2 &* dilation }
    private var reach: Reach {
        Reach(before: before, after: (weights.reach &- 1) &* dilation &- before, unit: weights.tile &* dilation)
    }
    /// Rows before and after one that it sees at most.
    var margin: Int { reach.most }

    /// The rows that can be computed of those of `x`.
    func span(_ x: Stretch) -> Span { x.span.shrunk(by: reach) }

    /// The rows that can be computed of `x`, of which negative numbers are multiplied by `slope` before, those of the result by
    /// `lastSlope`; added to `sum`, which has these rows, where it is given.
    func callAsFunction(
        _ x: Stretch, slope: Float, lastSlope: Float = 1, addingTo sum: Tensor? = nil, _ run: Run
    ) throws(DiffError) -> Stretch {
        try run.checkCancel()
        let span = span(x)
        let out = try run.signalConvolution(
            x.rows, weights, first: span.first &- before &- x.first, count: span.end &- span.first, dilation: dilation,
            slope: slope, lastSlope: lastSlope, addingTo: sum)
        return Stretch(rows: out, first: span.first, total: x.total)
    }
}

/// A transposed convolution: `rate` rows for each.
struct SignalUpsampler: Sendable {
    let site: Site
    private let weights: SignalWeights
    private let stage: VocoderConfiguration.Stage

    /// `weight` [inputs, channels, kernel] and `bias` at the scope of `w`.
    init(_ w: Weights, _ inputs: Int, _ stage: VocoderConfiguration.Stage, site: Site) throws(DiffError) {
        weights = try SignalWeights(
            transposed: w.wide("weight", [inputs, stage.channels, stage.kernel]), stride: stage.rate,
            bias: w.vector("bias", stage.channels), method: w.options.convolution, budget: w.options.budget,
            pool: w.options.pool)
        (self.stage, self.site) = (stage, site)
    }

    private var before: Int { weights.taps &- 1 }
    private var reach: Reach { Reach(before: before, after: weights.reach &- weights.taps, unit: weights.tile) }

    /// `span` of a signal with the zeros behind it that the last rows see.
    private func lengthened(_ span: Span) -> Span {
        Span(first: span.first, end: span.end < span.total ? span.end : span.end &+ before, total: span.total &+ before)
    }

    /// The rows of `groups` of `rate` rows each, counted from `padding` rows before the signal, of `rows` rows; nil beyond what a tensor
    /// may have.
    private func span(_ groups: Span, of rows: Int) -> Span? {
        guard let total = stage.length(rows) else { return nil }
        return Span(
            first: max(0, groups.first &* stage.rate &- stage.padding),
            end: min(total, groups.end &* stage.rate &- stage.padding), total: total)
    }

    /// The rows that can be computed of those of `span`, wherever these begin; nil beyond what a tensor may have.
    func span(_ span: Span) -> Span? {
        self.span(lengthened(span).shrunkAnywhere(by: reach), of: span.total)
    }

    /// The rows that can be computed of `x`, of which numbers below 0 are multiplied by `slope` before.
    func callAsFunction(_ x: Stretch, slope: Float, _ run: Run) throws(DiffError) -> Stretch {
        let groups = lengthened(x.span).shrunk(by: reach)
        guard let span = span(groups, of: x.total) else {
            throw DiffError(.shape, "a signal of \(x.total) rows becomes too long")
        }
        let count = groups.end &- groups.first
        let out = try run.signalConvolution(
            x.rows, weights, first: groups.first &- before &- x.first, count: count, slope: slope)
        let whole = Stretch(
            rows: try out.reshaped(Shape(count &* stage.rate, stage.channels)),
            first: groups.first &* stage.rate &- stage.padding, total: span.total)
        return try whole.trimmed(span.first, span.end)
    }
}

extension Weights {
    /// The tensor `name` of extents `dims`, in f32.
    fileprivate func wide(_ name: String, _ dims: [Int]) throws(DiffError) -> Tensor {
        try tensor(name, dims).widened(budget: options.budget)
    }
}
