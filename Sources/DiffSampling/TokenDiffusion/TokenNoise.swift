public import DiffTensor

/// The noise of tokens: a seed's, or the caller's.
///
/// A seed's draws are those of the published code on torch's CPU generator: in each iteration one tensor for the tokens that it predicts, samples
/// first, then positions; in each step of the head one for all rows of its batch, of which under guidance the first half is used.
public struct TokenNoise: Sendable {
    private var generator: TorchRandom
    private let start, steps: Tensor?

    /// Noise from `generator`; `start` [samples, tokens, width] and `steps` [head steps, samples, tokens, width], where given, are used instead
    /// of draws.
    public init(_ generator: TorchRandom, start: Tensor? = nil, steps: Tensor? = nil) {
        (self.generator, self.start, self.steps) = (generator, start, steps)
    }

    /// Throws `notFinite` when noise of the caller holds NaN or infinity.
    public func requireFinite(_ run: Run) throws(DiffError) {
        if let start { try run.requireFinite(start, "noise") }
        if let steps { try run.requireFinite(steps, "step_noise") }
    }

    /// The start noise [tokens.count, width] of `tokens`, which are counted through all samples.
    mutating func initial(_ tokens: [Int], width: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard let start else { return try run.randomNormal(Shape(tokens.count, width), &generator) }
        // The draws it replaces are still made: otherwise noise that came from the same seed would come again in the steps.
        if steps == nil { _ = try run.randomNormal(Shape(tokens.count, width), &generator) }
        return try Self.rows(tokens, of: start, width, run)
    }

    /// The noise of step `step` of the head for the same tokens, drawn for `rows` rows.
    mutating func next(_ step: Int, _ tokens: [Int], rows: Int, width: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard let steps else {
            return try run.randomNormal(Shape(rows, width), &generator).rows(0, tokens.count)
        }
        return try Self.rows(tokens, of: steps.rows(step, 1), width, run)
    }

    private static func rows(_ tokens: [Int], of given: Tensor, _ width: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard width > 0 else { throw DiffError(.shape, "noise of no width") }
        return try run.embedding(given.reshaped(Shape(given.shape.count / width, width)), tokens)
    }
}
