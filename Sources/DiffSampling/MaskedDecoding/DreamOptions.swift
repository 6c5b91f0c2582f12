import DiffTensor

/// How Dream decodes: all positions compete in every step, or those of a block in every step of it.
public struct DreamOptions: Sendable, Equatable {
    /// What decides which positions are revealed.
    public enum Algorithm: String, Sendable, CaseIterable {
        /// Each position at random, with the probability of the schedule.
        case origin
        /// The most probable tokens.
        case maskGIT = "maskgit_plus"
        /// The largest lead of a token over the next.
        case margin = "topk_margin"
        /// The lowest entropy.
        case entropy
    }

    /// Mask, length, forbidden tokens.
    public var common: MaskedCommon
    /// Passes, with blocks divided evenly over them; nil: one per position to fill. With a threshold, and without blocks: how many passes
    /// the masks would take at an even rate, which also bounds how many a pass reveals; nil: no bound.
    public var steps: Int?
    /// Positions to fill in a block; nil: all.
    public var blockLength: Int?
    /// Whether blocks are decoded from left to right as Fast-dLLM does, each beginning with its first position; a `blockLength` asks for
    /// it.
    public var isBlockwise = false
    /// Reveals every position of at least this probability, and at least one (`maskgit_plus` only).
    public var threshold: Double?
    /// Last time of the schedule, which falls evenly from 1.
    public var eps = 1e-3
    /// The order of revelation.
    public var algorithm = Algorithm.origin
    /// Randomness of the order: positions are drawn from softmax(confidence / this); 0: the surest ones.
    public var algorithmTemperature = 0.0
    /// Temperature of the tokens; 0: the most probable.
    public var temperature = 0.0
    /// Nucleus sampling: keep the smallest set with cumulative probability ≥ top_p; 1: off.
    public var topP = 1.0
    /// Keep only this many of the most probable tokens; 0: off.
    public var topK = 0

    /// The defaults of the published class: `origin`, without temperature.
    public init(_ common: MaskedCommon) { self.common = common }

    /// What the published code does when nothing is said: transformers 4.46 fills in temperature 1 and the 50 largest candidates.
    public static func asPublished(_ common: MaskedCommon) -> DreamOptions {
        var options = DreamOptions(common)
        (options.temperature, options.topK) = (1, 50)
        return options
    }

    func check(_ prompts: [MaskedPrompt]) throws(DiffError) {
        try checkBlocks(prompts)
        try DecodingNumbers.temperature(temperature, "temperature")
        try DecodingNumbers.temperature(algorithmTemperature, "the order's temperature")
        try DecodingNumbers.threshold(threshold)
        guard eps > 0, eps < 1, topP > 0, topP <= 1, topK >= 0 else {
            throw DiffError(
                .invalidArgument,
                "eps must be between 0 and 1, top_p above 0 and at most 1, top_k 0 or more; found \(eps), \(topP), \(topK)"
            )
        }
        guard threshold == nil || (algorithm == .maskGIT && algorithmTemperature == 0) else {
            throw DiffError(
                .incompatible,
                "a threshold compares probabilities: the order must be maskgit_plus, without a temperature")
        }
    }

    /// Whether there are blocks.
    public var hasBlocks: Bool { isBlockwise || blockLength != nil }

    private func checkBlocks(_ prompts: [MaskedPrompt]) throws(DiffError) {
        guard hasBlocks else {
            guard let steps else { return }
            guard steps > 0, steps <= MaskedCommon.maxPositions else {
                throw DiffError(.invalidArgument, "\(steps) steps; expected 1...\(MaskedCommon.maxPositions)")
            }
            for prompt in prompts.each where threshold != nil && common.masks(prompt) % steps != 0 {
                throw DiffError(
                    .invalidArgument,
                    "\(steps) steps do not divide the \(common.masks(prompt)) positions to fill evenly")
            }
            return
        }
        guard algorithm != .origin else {
            throw DiffError(.incompatible, "origin reveals positions by chance and has no blocks; use another order")
        }
        if let blockLength, blockLength <= 0 || (!common.fillsPrompts && common.length % blockLength != 0) {
            throw DiffError(
                .invalidArgument, "a length of \(common.length) is not made of blocks of \(blockLength)")
        }
        guard let steps, threshold == nil else { return }
        try common.check(steps: steps, prompts, of: blockLength, always: true)
        for prompt in prompts.each {
            let blocks = common.blocks(prompt, of: blockLength, always: true)
            // The first step of a block reveals its first position, whatever the schedule says.
            guard steps > blocks.count || common.masks(prompt) == blocks.count else {
                throw DiffError(
                    .invalidArgument, "\(steps) steps for \(blocks.count) blocks of Dream; each needs at least 2")
            }
        }
    }

    /// torch's `linspace(1, eps, steps + 1)` in f32, to the bit, since counts are truncated from these. The step is rounded to f32; values are
    /// computed from both ends to the middle, each by one fused multiply-add, which double precision rounded once equals.
    public func timesteps(_ steps: Int) -> [Float] {
        let step = Double(Float(Float(eps) - 1) / Float(max(1, steps)))
        let half = (steps &+ 1) / 2
        return Indices(below: steps &+ 1).map { j in
            j < half ? Float(1 + step * Double(j)) : Float(Double(Float(eps)) - step * Double(steps &- j))
        }
    }
}
