public import DiffAcceleration
public import DiffTensor
import Glibc

/// A router that learns: logits with an AdamW state of their own for each row.
///
/// Only the row of an iteration has a gradient; the others keep moments and step count, as rows without a gradient do in the
/// published training. Logits are limited to ±`clamp` after each step.
public struct RouterLogits: Sendable, Equatable {
    /// [steps][sub-layers], row 0 the cleanest step.
    public private(set) var rows: [[Float]]
    /// AdamW's state, by row.
    public private(set) var states: [RowAdamW]

    /// Rows of standard normal values drawn from `generator` as `torch.randn(2 L)` row by row.
    public init(steps: Int, sublayers: Int, _ generator: inout TorchRandom) {
        var rows: [[Float]] = []
        for _ in Indices(below: steps) {
            var row = [Float](repeating: 0, count: max(0, sublayers))
            unsafe row.withUnsafeMutableBufferPointer { values in
                if let base = values.baseAddress { unsafe generator.normal(base, count: values.count) }
            }
            rows.append(row)
        }
        self.init(rows)
    }

    /// These rows, no step made yet.
    public init(_ rows: [[Float]]) {
        self.rows = rows
        states = rows.map { RowAdamW(count: $0.count) }
    }

    /// Rows with the optimiser's state of an earlier run. Throws `format` when they do not fit each other.
    public init(rows: [[Float]], states: [RowAdamW]) throws(DiffError) {
        guard states.map(\.first.count) == rows.map(\.count), rows.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
            throw DiffError(.format, "the router's moments do not fit its logits")
        }
        (self.rows, self.states) = (rows, states)
    }

    /// sigmoid of row `row`.
    public func scores(row: Int) -> [Float] { (rows.at(row) ?? []).map { 1 / (1 + expf(-$0)) } }

    /// One AdamW step (no weight decay) of row `row`. `gradient` is that of the error with respect to the scores; l1 · Σ scores
    /// is part of the loss. Gives the gradient with respect to the logits.
    @discardableResult
    public mutating func step(
        row: Int, gradient: [Float], l1: Double, learningRate: Double, clamp: Float?
    ) -> [Float] {
        guard var values = rows.at(row), var state = states.at(row) else { return [] }
        let logitGradient = zip(scores(row: row).each, gradient.each).map { $0 * (1 - $0) * ($1 + Float(l1)) }
        state.step(&values, gradient: logitGradient, learningRate: learningRate)
        if let clamp { values = values.each.map { min(clamp, max(-clamp, $0)) } }
        rows.put(values, at: row)
        states.put(state, at: row)
        return logitGradient
    }

    /// The router as it is used for inference. Throws `format` when a logit is not finite.
    public func router(threshold: Double, period: Int = 2) throws(DiffError) -> Router {
        try Router(logits: rows, threshold: threshold, period: period)
    }
}
