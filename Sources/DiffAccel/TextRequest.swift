import DiffSampling
import DiffTensor

/// A request to a language model: prompts as tokens, and how their continuations are decoded. Use ``Model/tokenizer`` to make tokens of
/// text.
public struct TextRequest: Sendable {
    /// Tokens of each prompt; the prompts may differ in length. They may hold mask tokens: see ``infills``.
    public var prompts: [[Int]]
    /// Tokens to generate behind each prompt; 0: only the masks in the prompts are filled.
    public var length = 128
    /// Whether masks in the prompts are filled like those behind them: blocks and steps are made for all of them. Without it the published
    /// rule holds: LLaDA's steps reveal as many positions as the text has, and masks in the prompt compete for them.
    public var infills = false
    /// Passes over the whole text; nil: one per token.
    public var steps: Int?
    /// Tokens of a block; nil: all in one. Dream: as Fast-dLLM decodes it, each block beginning with its first position.
    public var blockLength: Int?
    /// Which positions are revealed first. LLaDA: `low_confidence` (default) or `random`. Dream: `entropy` (default), `maskgit_plus`,
    /// `topk_margin` or `origin`.
    public var order: String?
    /// Temperature of the tokens; 0: the most probable.
    public var temperature = 0.0
    /// LLaDA: guidance away from a masked prompt; 0: none.
    public var guidance = 0.0
    /// Reveals all positions of at least this probability in every pass, and at least one; `steps` is then not used. Dream (in the order
    /// `maskgit_plus`), without blocks: `steps` bounds what a pass reveals, as in Fast-dLLM.
    public var threshold: Double?
    /// Dream: randomness of the order, nucleus (1: off), candidates (0: all), last time of the schedule.
    public var orderTemperature = 0.0, topP = 1.0, topK = 0, eps = 1e-3
    /// As `torch.manual_seed(seed)`: one stream of draws for the batch, as the published code has it.
    public var seed: UInt64 = 0
    /// A seed for each prompt instead: each then draws as if it were alone.
    public var seeds: [UInt64] = []
    /// Whether the mask token may never be chosen. The published code allows it, and then leaves masks in the text.
    public var forbidsMask = true
    /// Whether tokens that end a text are never chosen (`logits_eos_inf`), or only when nothing else is left to reveal.
    public var forbidsEnd = false, delaysEnd = false

    /// More tokens than this, prompts and texts together, are refused.
    public static var maxTokens: Int { MaskedCommon.maxPositions }

    /// A request for continuations of these prompts.
    public init(prompts: [[Int]]) { self.prompts = prompts }
}

/// What a pass over a batch of texts revealed.
public struct TextEvent: Sendable {
    /// One text that took part.
    public struct Text: Sendable {
        /// Number of the prompt.
        public let prompt: Int
        /// Tokens of the prompt and of the text, masks included.
        public let sequence: [Int]
        /// Positions written in this pass, in the order of revelation.
        public let revealed: [Int]
        /// Positions that the network computed in this pass.
        public let queries: Int
    }

    /// The texts that took part.
    public let texts: [Text]
    /// Rows that the network computed and rows that went through its head.
    public let queryRows: Int, headRows: Int

    init(_ progress: MaskedProgress) {
        texts = progress.samples.each.map { sample in
            Text(
                prompt: sample.sample, sequence: sample.sequence, revealed: sample.revealed,
                queries: sample.queries.count)
        }
        (queryRows, headRows) = (progress.queryRows, progress.headRows)
    }
}
