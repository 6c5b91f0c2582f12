import DiffTensor

/// A prompt of masked decoding: its tokens, the first `padding` of which stand there only to fill up.
public struct MaskedPrompt: Sendable, Equatable {
    /// Tokens, padding included.
    public var tokens: [Int]
    /// Places in front that no other place sees.
    public var padding: Int

    /// A prompt of `tokens`, the first `padding` of which are padding.
    public init(_ tokens: [Int], padding: Int = 0) { (self.tokens, self.padding) = (tokens, padding) }
}

/// What both decoders are told.
public struct MaskedCommon: Sendable, Equatable {
    /// The mask token.
    public var maskToken: Int
    /// Tokens to generate.
    public var length: Int
    /// Tokens that are never chosen: their logits count as minus infinity before everything else.
    public var forbidden: [Int]

    /// Generates `length` tokens.
    public init(maskToken: Int, length: Int, forbidden: [Int] = []) {
        (self.maskToken, self.length, self.forbidden) = (maskToken, length, forbidden)
    }

    /// More places than this in all canvases together are refused.
    public static let maxPlaces = 1 << 20

    func check(_ prompts: [MaskedPrompt]) throws(DiffError) {
        guard !prompts.isEmpty else { throw DiffError(.invalidArgument, "no prompt") }
        guard length > 0, length <= Self.maxPlaces else {
            throw DiffError(.invalidArgument, "a length of \(length); expected 1...\(Self.maxPlaces)")
        }
        var places = 0
        for (index, prompt) in prompts.numbered {
            guard prompt.padding >= 0, prompt.padding <= prompt.tokens.count else {
                throw DiffError(
                    .invalidArgument, "prompt \(index): \(prompt.padding) of \(prompt.tokens.count) places are padding")
            }
            places = Checked.sum(places, prompt.tokens.count, length)
        }
        guard places <= Self.maxPlaces else {
            throw DiffError(
                .invalidArgument, "prompts and texts of \(places) tokens; at most \(Self.maxPlaces) in one batch")
        }
    }
}

/// How LLaDA decodes: blocks from left to right, in each as many passes as steps.
public struct LLaDAOptions: Sendable, Equatable {
    /// Which of a block's masked places are revealed.
    public enum Remasking: String, Sendable, CaseIterable {
        /// Those whose token has the highest probability.
        case lowConfidence = "low_confidence"
        /// Places drawn at random.
        case random
    }

    /// Mask, length, forbidden tokens.
    public var common: MaskedCommon
    /// Passes over the whole text; divided evenly over the blocks.
    public var steps: Int
    /// Tokens of a block; divides the length.
    public var blockLength: Int
    /// The order of revelation.
    public var remasking = Remasking.lowConfidence
    /// Strength of the Gumbel noise; 0: none.
    public var temperature = 0.0
    /// Guidance: L' + (guidance + 1)(L − L'), with L' for a masked prompt; 0: none.
    public var guidance = 0.0
    /// Reveals every place of at least this probability, and at least one, until the block is done; `steps` is then not used.
    public var threshold: Double?
    /// Tokens that are revealed last: their confidence counts as minus infinity.
    public var reluctant: [Int] = []
    /// Passes that a block with a threshold makes at least; the published cached decoders make 2.
    public var leastSteps = 1

    /// The published defaults: one block, a pass per token.
    public init(_ common: MaskedCommon) {
        self.common = common
        (steps, blockLength) = (common.length, common.length)
    }

    /// Blocks.
    public var blocks: Int { common.length / max(1, blockLength) }

    func check() throws(DiffError) {
        guard blockLength > 0, common.length % blockLength == 0 else {
            throw DiffError(
                .invalidArgument, "a length of \(common.length) is not made of blocks of \(blockLength)")
        }
        guard steps > 0, steps % max(1, blocks) == 0, steps <= MaskedCommon.maxPlaces else {
            throw DiffError(.invalidArgument, "\(steps) steps cannot be divided over \(blocks) blocks")
        }
        guard temperature >= 0, temperature.isFinite, guidance >= 0, guidance.isFinite, leastSteps >= 1 else {
            throw DiffError(.invalidArgument, "temperature \(temperature) and guidance \(guidance) must be 0 or more")
        }
        guard threshold.map({ $0 > 0 && $0 <= 1 }) ?? true else {
            throw DiffError(.invalidArgument, "a threshold must be above 0 and at most 1, found \(threshold ?? 0)")
        }
        guard threshold == nil || remasking == .lowConfidence else {
            throw DiffError(.incompatible, "a threshold compares confidences; the order here is random")
        }
    }
}

/// How Dream decodes: all places compete in every step.
public struct DreamOptions: Sendable, Equatable {
    /// What decides which places are revealed.
    public enum Algorithm: String, Sendable, CaseIterable {
        /// Each place at random, with the probability of the schedule.
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
    /// Passes.
    public var steps: Int
    /// Last time of the schedule, which falls evenly from 1.
    public var eps = 1e-3
    /// The order of revelation.
    public var algorithm = Algorithm.origin
    /// Randomness of the order: places are drawn from softmax(confidence / this); 0: the surest ones.
    public var algorithmTemperature = 0.0
    /// Temperature of the tokens; 0: the most probable.
    public var temperature = 0.0
    /// Nucleus; 1: off.
    public var topP = 1.0
    /// Largest candidates; 0: off.
    public var topK = 0

    /// The defaults of the published class: `origin`, without temperature.
    public init(_ common: MaskedCommon) {
        self.common = common
        steps = common.length
    }

    /// What the published code does when nothing is said: transformers 4.46 fills in temperature 1 and the 50 largest candidates.
    public static func asPublished(_ common: MaskedCommon) -> DreamOptions {
        var options = DreamOptions(common)
        (options.temperature, options.topK) = (1, 50)
        return options
    }

    func check() throws(DiffError) {
        guard steps > 0, steps <= MaskedCommon.maxPlaces else {
            throw DiffError(.invalidArgument, "\(steps) steps; expected 1...\(MaskedCommon.maxPlaces)")
        }
        guard eps > 0, eps < 1, temperature >= 0, temperature.isFinite, algorithmTemperature >= 0,
            algorithmTemperature.isFinite, topP > 0, topP <= 1, topK >= 0
        else {
            throw DiffError(
                .invalidArgument,
                "eps must be between 0 and 1, temperatures and top_k 0 or more, top_p above 0 and at most 1")
        }
    }

    /// torch's `linspace(1, eps, steps + 1)` in f32: from both ends to the middle, one rounding each.
    public var timesteps: [Float] {
        let step = Double(Float(Float(eps) - 1) / Float(max(1, steps)))
        let half = (steps &+ 1) / 2
        return Indices(below: steps &+ 1).map { j in
            j < half ? Float(1 + step * Double(j)) : Float(Double(Float(eps)) - step * Double(steps &- j))
        }
    }
}
