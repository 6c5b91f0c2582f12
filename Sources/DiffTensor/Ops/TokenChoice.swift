import CKernels

/// What Dream's rule takes as the confidence of a token.
public enum TokenConfidence: Int32, Sendable, CaseIterable {
    /// Its probability.
    case probability = 0
    /// The difference of the two largest probabilities.
    case margin = 1
    /// Σ p ln(p + 1e-10), the negative entropy.
    case entropy = 2
}

/// A token for each row of logits, and how sure of it the rule is.
public struct TokenChoice: Sendable {
    /// One token per row.
    public let tokens: [Int]
    /// One value per row; larger is surer.
    public let confidences: [Double]
}

extension Run {
    /// LLaDA's choice for each row of `logits` [1, rows, vocabulary]: the argmax of logit − temperature · ln(−ln u), of the
    /// logit where `u` is nil; its probability without noise and temperature. `u` holds a uniform value per logit.
    ///
    /// Throws `notFinite` when a row holds NaN or infinity.
    public func chooseTokens(
        _ logits: Tensor, noise u: UnsafePointer<Double>?, temperature: Double
    ) throws(DiffError) -> TokenChoice {
        let (rows, n) = (logits.shape.rows, logits.shape.last)
        count(flops: 6 * Double(logits.shape.count))
        var tokens = [Int64](repeating: 0, count: rows)
        var confidences = [Double](repeating: 0, count: rows)
        guard isLive, rows > 0 else { return TokenChoice(tokens: tokens.map { Int($0) }, confidences: confidences) }
        let isFinite = unsafe tokens.withUnsafeMutableBufferPointer { tokens in
            unsafe confidences.withUnsafeMutableBufferPointer { confidences in
                var arguments = unsafe ck_gumbel_rows_args()
                unsafe arguments.logits = UnsafePointer(logits.floats)
                unsafe arguments.u = u
                unsafe (arguments.rows, arguments.n) = (Int64(rows), Int64(n))
                unsafe arguments.temperature = temperature
                unsafe (arguments.tokens, arguments.confidences) = (
                    tokens.baseAddress, confidences.baseAddress
                )
                return unsafe ck_gumbel_rows(poolHandle, &arguments) != 0
            }
        }
        guard isFinite else { throw DiffError(.notFinite, "the network's logits hold NaN or infinity") }
        return TokenChoice(tokens: tokens.each.map { Int($0) }, confidences: confidences)
    }

    /// Dream's choice for each row of `logits` [1, rows, vocabulary]: logits over `temperature` (when positive), cut to the nucleus
    /// of `topP` (below 1) and then to the `topK` (above 0) largest; the argmax of their softmax p, of p / e where `e` is given (one
    /// exponential value per logit).
    ///
    /// Throws `notFinite` when a row holds NaN or infinity.
    public func raceTokens(
        _ logits: Tensor, noise e: UnsafePointer<Float>?, temperature: Float, topP: Float, topK: Int,
        confidence: TokenConfidence
    ) throws(DiffError) -> TokenChoice {
        let (rows, n) = (logits.shape.rows, logits.shape.last)
        count(flops: 8 * Double(logits.shape.count))
        var tokens = [Int64](repeating: 0, count: rows)
        var confidences = [Float](repeating: 0, count: rows)
        let scratch = try scratch(ck_race_rows_scratch(Int32(clamping: threads), Int64(n)))
        guard isLive, rows > 0, n < Int(Int32.max) else {
            return TokenChoice(tokens: tokens.map { Int($0) }, confidences: confidences.map { Double($0) })
        }
        let isFinite = unsafe tokens.withUnsafeMutableBufferPointer { tokens in
            unsafe confidences.withUnsafeMutableBufferPointer { confidences in
                var arguments = unsafe ck_race_rows_args()
                unsafe (arguments.logits, arguments.e) = unsafe (UnsafePointer(logits.floats), e)
                unsafe (arguments.rows, arguments.n) = (Int64(rows), Int64(n))
                unsafe (arguments.temperature, arguments.top_p) = (temperature, topP)
                unsafe (arguments.top_k, arguments.confidence) = (Int64(topK), confidence.rawValue)
                unsafe (arguments.tokens, arguments.confidences) = (
                    tokens.baseAddress, confidences.baseAddress
                )
                unsafe arguments.scratch = scratch?.base
                return unsafe ck_race_rows(poolHandle, &arguments) != 0
            }
        }
        guard isFinite else { throw DiffError(.notFinite, "the network's logits hold NaN or infinity") }
        return TokenChoice(
            tokens: tokens.each.map { Int($0) }, confidences: confidences.each.map { Double($0) })
    }

    /// Sets the logits of `tokens` in every row of `logits` [1, rows, vocabulary] to minus infinity: they are never chosen.
    /// `logits` must be fresh, seen by nobody else.
    public func forbid(_ tokens: [Int], in logits: Tensor) {
        guard isLive, let base = unsafe logits.floats else { return }
        let n = logits.shape.last
        for row in Indices(below: logits.shape.rows) {
            for token in tokens.each where token >= 0 && token < n {
                unsafe base[row &* n &+ token] = -Float.infinity
            }
        }
    }
}
