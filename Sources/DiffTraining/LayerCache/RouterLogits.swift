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
    /// AdamW's moments and step counters, by row.
    public private(set) var first: [[Float]], second: [[Float]], steps: [Int]

    /// Rows of standard normal values drawn from `generator` as `torch.randn(2 L)` row by row.
    public init(steps: Int, sublayers: Int, _ generator: inout TorchRandom) {
        var rows: [[Float]] = []
        for _ in Indices(below: steps) {
            var row = [Float](repeating: 0, count: sublayers)
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
        first = rows.map { $0.map { _ in 0 } }
        second = first
        steps = rows.map { _ in 0 }
    }

    /// Rows with the optimiser's state of an earlier run. Throws `format` when the parts do not fit each other.
    public init(
        rows: [[Float]], first: [[Float]], second: [[Float]], steps: [Int]
    ) throws(DiffError) {
        let widths = rows.map(\.count)
        guard first.map(\.count) == widths, second.map(\.count) == widths, steps.count == rows.count,
            steps.allSatisfy({ $0 >= 0 })
        else { throw DiffError(.format, "the router's moments do not fit its logits") }
        (self.rows, self.first, self.second, self.steps) = (rows, first, second, steps)
    }

    /// sigmoid of row `row`.
    public func scores(row: Int) -> [Float] { (rows.at(row) ?? []).map { 1 / (1 + expf(-$0)) } }

    /// One AdamW step (no weight decay) of row `row`. `gradient` is that of the error with respect to the scores; l1 · Σ scores
    /// is part of the loss. Gives the gradient with respect to the logits.
    @discardableResult
    public mutating func step(
        row: Int, gradient: [Float], l1: Double, learningRate: Double, clamp: Float?
    ) -> [Float] {
        guard rows.indices.contains(row) else { return [] }
        let scores = scores(row: row)
        var logitGradient: [Float] = []
        for (score, g) in zip(scores, gradient) { logitGradient.append(score * (1 - score) * (g + Float(l1))) }
        steps[row] &+= 1
        let count = Double(steps[row])
        let (beta1, beta2) = (0.9, 0.999)
        let stepSize = Float(learningRate / (1 - pow(beta1, count)))
        let root = Float((1 - pow(beta2, count)).squareRoot())
        for (column, g) in logitGradient.numbered where column < rows[row].count {
            let m = first[row][column] + (g - first[row][column]) * Float(1 - beta1)
            let v = second[row][column] * Float(beta2) + g * g * Float(1 - beta2)
            (first[row][column], second[row][column]) = (m, v)
            var logit = rows[row][column] - stepSize * m / (v.squareRoot() / root + 1e-8)
            if let clamp { logit = min(clamp, max(-clamp, logit)) }
            rows[row][column] = logit
        }
        return logitGradient
    }

    /// The router as it is used for inference. Throws `format` when a logit is not finite.
    public func router(threshold: Double, period: Int = 2) throws(DiffError) -> Router {
        try Router(logits: rows, threshold: threshold, period: period)
    }
}
