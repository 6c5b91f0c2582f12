public import DiffTensor

/// Where the random choices of next-scale generation come from: a seed, or numbers of the caller.
///
/// With a seed the draws are those of the published code on torch's CPU generator: an exponential time for every candidate of
/// every token, samples first, then rows and columns, scale by scale; for mixtures as many more, after the draw that they replace.
public struct ScaleDraws: Sendable {
    private enum Source: Sendable {
        case generator(TorchRandom)
        case times([Tensor], mixtures: [Tensor])
        case uniforms([Tensor])
    }

    private var source: Source

    /// Draws of `torch.manual_seed(seed)`.
    public init(seed: UInt64) { source = .generator(TorchRandom(seed: seed)) }

    /// Exponential times [batch, tokens, vocabulary] for each scale, and those of mixtures.
    public init(times: [Tensor], mixtures: [Tensor] = []) { source = .times(times, mixtures: mixtures) }

    /// One number in 0 ..< 1 for each token: [batch, tokens] for each scale. The first candidate at which the running sum of the
    /// probabilities passes it is taken.
    public init(uniforms: [Tensor]) { source = .uniforms(uniforms) }

    /// Whether draws are the caller's and hold NaN or infinity: throws `notFinite`.
    public func requireFinite(_ run: Run) throws(DiffError) {
        switch source {
        case .generator: return
        case .times(let times, let mixtures):
            for tensor in (times + mixtures).each { try run.requireFinite(tensor, "the uniforms") }
        case .uniforms(let uniforms): for tensor in uniforms.each { try run.requireFinite(tensor, "the uniforms") }
        }
    }

    /// A candidate for each row of truncated logits [batch, tokens, vocabulary] of `scale`.
    mutating func choose(_ logits: Tensor, scale: Int, _ run: Run) throws(DiffError) -> [Int] {
        switch source {
        case .generator(var generator):
            let times = try run.exponentialTimes(for: logits, &generator)
            source = .generator(generator)
            return try run.racing(logits, times: times)
        case .times(let times, _): return try run.racing(logits, times: Self.given(times, scale))
        case .uniforms(let uniforms): return try run.inverting(logits, uniforms: Self.given(uniforms, scale))
        }
    }

    /// Weights of all candidates for each row, sharper the finer the scale: `gumbel_softmax_with_rng` of the published code (`more_smooth`),
    /// `share` being scale / (scales - 1). The constants 0.27, 0.95 and 0.005 are its. Logits are the truncated ones, since truncation is
    /// in place there.
    mutating func mix(_ logits: Tensor, scale: Int, share: Double, _ run: Run) throws(DiffError) -> Tensor {
        let times: Tensor
        switch source {
        case .generator(var generator):
            times = try run.exponentialTimes(for: logits, &generator)
            source = .generator(generator)
        case .times(_, let mixtures): times = try Self.given(mixtures, scale)
        case .uniforms: throw DiffError(.unsupported, "mixtures need exponential times or a seed")
        }
        let tau = max(0.27 * (1 - share * 0.95), 0.005)
        return try run.gumbelWeights(logits, times: times, sharpness: Float(1 + share), tau: Float(tau))
    }

    private static func given(_ draws: [Tensor], _ scale: Int) throws(DiffError) -> Tensor {
        guard let tensor = draws.at(scale) else { throw DiffError(.shape, "no draws for scale \(scale)") }
        return tensor
    }
}
