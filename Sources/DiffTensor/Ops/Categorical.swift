import CKernels

/// How the distribution that a category was drawn from is scored.
public enum CategoricalScore: Int32, Sendable, CaseIterable {
    /// The probability of the category.
    case probability = 0
    /// The difference of the two largest probabilities.
    case margin = 1
    /// Σ p ln(p + 1e-10), the negative entropy; 1e-10 keeps the logarithm finite, as in Dream.
    case entropy = 2
}

/// A category for each row of logits, and a score of each choice.
public struct CategoricalChoice: Sendable {
    /// One category per row.
    public let categories: [Int]
    /// One value per row; larger is surer.
    public let scores: [Double]
}

extension Run {
    /// For each row of `logits` [1, rows, categories] the argmax of logit − temperature · ln(−ln u), of the logit where `uniforms` is
    /// nil, and as its score the probability without noise and temperature. `uniforms` holds a value per logit. Source: `add_gumbel_noise`
    /// of LLaDA, exp(logit) / (−ln u)^temperature in float64; the logarithm has the same argmax and does not overflow.
    ///
    /// Throws `notFinite` when a row holds NaN or infinity.
    public func gumbelArgmax(
        _ logits: Tensor, uniforms: UnsafePointer<Double>?, temperature: Double
    ) throws(DiffError) -> CategoricalChoice {
        let (rows, n) = (logits.shape.rows, logits.shape.last)
        count(flops: 6 * Double(logits.shape.count))
        var categories = [Int64](repeating: 0, count: max(0, rows))
        var scores = [Double](repeating: 0, count: max(0, rows))
        guard isLive, rows > 0 else { return CategoricalChoice(categories: categories.map { Int($0) }, scores: scores) }
        let isFinite = unsafe categories.withUnsafeMutableBufferPointer { categories in
            unsafe scores.withUnsafeMutableBufferPointer { scores in
                var arguments = unsafe ck_gumbel_rows_args()
                unsafe arguments.logits = UnsafePointer(logits.floats)
                unsafe arguments.u = uniforms
                unsafe (arguments.rows, arguments.n) = (Int64(rows), Int64(n))
                unsafe arguments.temperature = temperature
                unsafe (arguments.tokens, arguments.confidences) = (
                    categories.baseAddress, scores.baseAddress
                )
                return unsafe ck_gumbel_rows(poolHandle, &arguments) != 0
            }
        }
        guard isFinite else { throw DiffError(.notFinite, "the network's logits hold NaN or infinity") }
        return CategoricalChoice(categories: categories.each.map { Int($0) }, scores: scores)
    }

    /// For each row of `logits` [1, rows, categories]: logits over `temperature` (when positive), cut to the nucleus of `topP` (below 1)
    /// and then to the `topK` (above 0) largest; the argmax of their softmax p, of p / e where `exponentials` is given (a value per
    /// logit), and the `score` of p. Source: `sample_tokens` of Dream, in that order; the argmax of p / e with e ~ Exp(1) is how
    /// torch.multinomial draws one sample on the CPU.
    ///
    /// Throws `notFinite` when a row holds NaN or infinity.
    public func exponentialArgmax(
        _ logits: Tensor, exponentials: UnsafePointer<Float>?, temperature: Float, topP: Float, topK: Int,
        score: CategoricalScore
    ) throws(DiffError) -> CategoricalChoice {
        let (rows, n) = (logits.shape.rows, logits.shape.last)
        count(flops: 8 * Double(logits.shape.count))
        var categories = [Int64](repeating: 0, count: max(0, rows))
        var scores = [Float](repeating: 0, count: max(0, rows))
        let scratch = try scratch(ck_race_rows_scratch(Int32(clamping: threads), Int64(n)))
        guard isLive, rows > 0, n < Int(Int32.max) else {
            return CategoricalChoice(categories: categories.map { Int($0) }, scores: scores.map { Double($0) })
        }
        let isFinite = unsafe categories.withUnsafeMutableBufferPointer { categories in
            unsafe scores.withUnsafeMutableBufferPointer { scores in
                var arguments = unsafe ck_race_rows_args()
                unsafe (arguments.logits, arguments.e) = unsafe (UnsafePointer(logits.floats), exponentials)
                unsafe (arguments.rows, arguments.n) = (Int64(rows), Int64(n))
                unsafe (arguments.temperature, arguments.top_p) = (temperature, topP)
                unsafe (arguments.top_k, arguments.confidence) = (Int64(topK), score.rawValue)
                unsafe (arguments.tokens, arguments.confidences) = (
                    categories.baseAddress, scores.baseAddress
                )
                unsafe arguments.scratch = scratch?.base
                return unsafe ck_race_rows(poolHandle, &arguments) != 0
            }
        }
        guard isFinite else { throw DiffError(.notFinite, "the network's logits hold NaN or infinity") }
        return CategoricalChoice(categories: categories.each.map { Int($0) }, scores: scores.each.map { Double($0) })
    }

    /// Sets the logits of `categories` in every row of `logits` [1, rows, categories] to minus infinity: they are never chosen.
    /// `logits` must be fresh, not shared with other code.
    public func exclude(_ categories: [Int], in logits: Tensor) {
        guard isLive, let base = unsafe logits.floats else { return }
        let n = logits.shape.last
        for row in Indices(below: logits.shape.rows) {
            for category in categories.each where category >= 0 && category < n {
                unsafe base[row &* n &+ category] = -Float.infinity
            }
        }
    }
}
