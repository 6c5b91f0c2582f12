import DiffCheckpoint
import DiffTensor

/// Rows of a signal that is worked on piece by piece: those from `first` on of `total`.
struct Stretch: Sendable {
    /// [count, channels]
    let rows: Tensor
    let first: Int
    /// Rows of the whole signal.
    let total: Int

    var end: Int { first &+ rows.shape[0] }

    /// Rows `first ..< end` of these. Throws `internal` for rows that are not there.
    func trimmed(_ first: Int, _ end: Int) throws(DiffError) -> Stretch {
        guard first >= self.first, end <= self.end, first < end else {
            throw DiffError(.internal, "rows \(first)..<\(end) of a stretch of \(self.first)..<\(self.end)")
        }
        return Stretch(rows: try rows.rows(first &- self.first, end &- first), first: first, total: total)
    }
}

/// Rows of a signal by number.
struct Span: Sendable, Equatable {
    var first: Int, end: Int
    let total: Int

    /// What is left when `margin` rows on both sides were needed, but for the ends of the signal.
    func shrunk(by margin: Int) -> Span {
        Span(first: first > 0 ? first &+ margin : 0, end: end < total ? end &- margin : total, total: total)
    }
}

/// A convolution along time that gives as many rows as it is given.
struct SignalConvolution: Sendable {
    let weights: SignalWeights
    let dilation: Int

    /// `weight` [outputs, inputs, taps] and `bias` at the scope of `w`.
    init(_ w: Weights, _ inputs: Int, _ outputs: Int, taps: Int, dilation: Int = 1) throws(DiffError) {
        weights = try SignalWeights(
            w.wide("weight", [outputs, inputs, taps]), bias: w.vector("bias", outputs), budget: w.options.budget,
            pool: w.options.pool)
        self.dilation = dilation
    }

    /// Rows before and after one that it sees.
    var margin: Int { (weights.taps &- 1) / 2 &* dilation }

    /// The rows that can be computed of `x`, of which negative numbers are multiplied by `slope` before, those of the result by
    /// `lastSlope`; added to `sum`, which has these rows, where it is given.
    func callAsFunction(
        _ x: Stretch, slope: Float, lastSlope: Float = 1, addingTo sum: Tensor? = nil, _ run: Run
    ) throws(DiffError) -> Stretch {
        try run.checkCancel()
        let span = Span(first: x.first, end: x.end, total: x.total).shrunk(by: margin)
        let count = span.end &- span.first
        let rows = try run.signalRows(
            x.rows, first: span.first &- margin &- x.first, count: count &+ 2 &* margin, dilation: dilation,
            slope: slope)
        let out = try run.signalConvolution(rows, weights, count: count, slope: lastSlope, addingTo: sum)
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
            bias: w.vector("bias", stage.channels), budget: w.options.budget, pool: w.options.pool)
        (self.stage, self.site) = (stage, site)
    }

    /// Groups of `rate` rows, counted from `padding` rows before the signal, that can be computed of the rows of `span`.
    private func groups(_ span: Span) -> (first: Int, end: Int) {
        (
            span.first > 0 ? span.first &+ weights.taps &- 1 : 0,
            span.end < span.total ? span.end : span.total &+ weights.taps &- 1
        )
    }

    /// The rows that can be computed of those of `span`; nil beyond what a tensor may have.
    func span(_ span: Span) -> Span? {
        guard let total = stage.length(span.total) else { return nil }
        let (first, end) = groups(span)
        return Span(
            first: max(0, first &* stage.rate &- stage.padding), end: min(total, end &* stage.rate &- stage.padding),
            total: total)
    }

    /// The rows that can be computed of `x`, of which numbers below 0 are multiplied by `slope` before.
    func callAsFunction(_ x: Stretch, slope: Float, _ run: Run) throws(DiffError) -> Stretch {
        let all = Span(first: x.first, end: x.end, total: x.total)
        guard let span = span(all) else { throw DiffError(.shape, "a signal of \(x.total) rows becomes too long") }
        let (first, end) = groups(all)
        let (count, before) = (end &- first, weights.taps &- 1)
        let rows = try run.signalRows(x.rows, first: first &- before &- x.first, count: count &+ before, slope: slope)
        let out = try run.signalConvolution(rows, weights, count: count)
        let whole = Stretch(
            rows: try out.reshaped(Shape(count &* stage.rate, stage.channels)),
            first: first &* stage.rate &- stage.padding, total: span.total)
        return try whole.trimmed(span.first, span.end)
    }
}

extension Weights {
    /// The tensor `name` of extents `dims`, in f32.
    fileprivate func wide(_ name: String, _ dims: [Int]) throws(DiffError) -> Tensor {
        try tensor(name, dims).widened(budget: options.budget)
    }
}
