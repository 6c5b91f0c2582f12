import DiffTensor

/// How LLaDA decodes: blocks from left to right, in each as many passes as steps.
public struct LLaDAOptions: Sendable, Equatable {
    /// Which of a block's masked positions are revealed.
    public enum Remasking: String, Sendable, CaseIterable {
        /// Those whose token has the highest probability.
        case lowConfidence = "low_confidence"
        /// Positions drawn at random.
        case random
    }

    /// Mask, length, forbidden tokens.
    public var common: MaskedCommon
    /// Passes over the whole text, divided evenly over the blocks; nil: one per position to fill.
    public var steps: Int?
    /// Positions to fill in a block; divides the length unless prompts are filled too. Nil: all of them.
    public var blockLength: Int?
    /// The order of revelation.
    public var remasking = Remasking.lowConfidence
    /// Strength of the Gumbel noise; 0: none.
    public var temperature = 0.0
    /// Guidance: L' + (guidance + 1)(L − L'), with L' for a masked prompt; 0: none.
    public var guidance = 0.0
    /// Reveals every position of at least this probability, and at least one, until the block is done; `steps` is then not used.
    public var threshold: Double?
    /// Tokens that are revealed last: their confidence counts as minus infinity.
    public var reluctant: [Int] = []
    /// Passes that a block with a threshold makes at least; the published cached decoders make 2.
    public var leastSteps = 1

    /// The published defaults: one block, a pass per token.
    public init(_ common: MaskedCommon) { self.common = common }

    /// The guidance as a value; nil: none.
    var guided: Guidance? {
        get throws(DiffError) { guidance > 0 ? try Guidance(.added, scale: guidance) : nil }
    }

    func check(_ prompts: [MaskedPrompt]) throws(DiffError) {
        if let blockLength, blockLength <= 0 || (!common.fillsPrompts && common.length % blockLength != 0) {
            throw DiffError(
                .invalidArgument, "a length of \(common.length) is not made of blocks of \(blockLength)")
        }
        if let steps { try common.check(steps: steps, prompts, of: blockLength) }
        try DecodingNumbers.temperature(temperature, "temperature")
        guard guidance >= 0, guidance <= 1e30, leastSteps >= 1 else {
            throw DiffError(.invalidArgument, "guidance must be 0...1e30, found \(guidance)")
        }
        try DecodingNumbers.threshold(threshold)
        guard threshold == nil || remasking == .lowConfidence else {
            throw DiffError(.incompatible, "a threshold compares confidences; the order here is random")
        }
    }
}
