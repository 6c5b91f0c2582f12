import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// A request to a language model, read and in range: prompts as tokens, and how their continuations are decoded.
struct TextRequest: Sendable {
    /// Tokens of each prompt; the prompts may differ in length. They may hold mask tokens: see ``infill``.
    let prompts: [[Int]]
    /// Tokens to generate after each prompt; 0: only the masks in the prompts are filled.
    let length: Int
    /// Whether masks in the prompts are filled like those after them: blocks and steps cover all of them. Without it the published
    /// rule holds: LLaDA's steps reveal as many positions as the text has, and masks in the prompt compete for them.
    let infill: Bool
    /// Passes over the whole text; nil: one per token.
    let steps: Int?
    /// Tokens of a block; nil: all in one. Dream: as Fast-dLLM decodes it, each block beginning with its first position.
    let blockLength: Int?
    /// Which positions are revealed first; nil: the family's rule.
    let order: String?
    /// Temperature of the tokens; 0: the most probable.
    let temperature: Double
    /// LLaDA: guidance away from a masked prompt; 0: none.
    let guidance: Double
    /// Reveals all positions of at least this probability in every pass, and at least one; steps are then not used. Dream (in the order
    /// `maskgit_plus`), without blocks: `steps` bounds what a pass reveals, as in Fast-dLLM.
    let threshold: Double?
    /// Dream: randomness of the order, nucleus (1: off), candidates (0: all), last time of the schedule.
    let orderTemperature: Double, topP: Double, topK: Int, eps: Double
    /// As `torch.manual_seed(seed)`: one stream of draws for the batch, as the published code has it.
    let seed: UInt64
    /// A seed for each prompt instead; each is then sampled as if it were alone.
    let seeds: [UInt64]
    /// Whether the mask token may be chosen, as in the published code, which then leaves masks in the text.
    let allowMask: Bool
    /// Whether tokens that end a text are never chosen (`logits_eos_inf`), or only when nothing else is left to reveal.
    let noEnd: Bool, endLast: Bool

    /// More tokens than this, prompts and texts together, are refused.
    static var maxTokens: Int { MaskedCommon.maxPositions }

    private static let prompt = OptionType.oneOrMore(.text)

    /// The form of requests to a model of these sizes.
    static func form(_ c: LanguageConfiguration) -> RequestForm {
        let isDream = c.family == .dream
        let (id, most) = (OptionType.integer(0...max(0, c.vocabulary &- 1)), MaskedCommon.maxPositions)
        let orders =
            isDream
            ? DreamOptions.Algorithm.allCases.map(\.rawValue) : LLaDAOptions.Remasking.allCases.map(\.rawValue)
        let temperatures = OptionType.either([.integer(0...0), .number(Checked.divisors)])
        var options = [
            OptionSpec("prompt", prompt, absent: "tokens", "The text to continue, or several as a batch."),
            OptionSpec(
                "tokens", .either([.list(id, 1...most), .list(.list(id, 0...most), 1...SampleRequest.maxSamples)]),
                absent: "prompt",
                "The tokens of the prompt, or of several, instead of prompt."),
            OptionSpec(
                "chat", .flag, default: false, "Whether the prompt is a user's message to an instruction-tuned model."),
            OptionSpec(
                "blank", .text, absent: "none",
                "A mark in the prompt that stands for one token to be filled in, such as ___."),
            OptionSpec(
                "allow_control", .flag, default: false,
                "Whether control tokens that the prompt spells out are those tokens, and not text like any other."),
            OptionSpec(
                "length", .integer(0...MaskedCommon.maxPositions), default: 128,
                "Tokens to generate after each prompt; 0: only masks in the prompts are filled."),
            OptionSpec(
                "infill", .flag, default: false,
                "Whether masks in the prompts are filled like those after them; steps and blocks then cover all of them."
            ),
            OptionSpec(
                "steps", .integer(1...MaskedCommon.maxPositions), absent: "one per token",
                "Number of passes over the whole text."
            ),
            OptionSpec(
                "block_length", .integer(1...MaskedCommon.maxPositions), absent: "all in one block",
                "Tokens per block."),
            OptionSpec(
                "order", .choice(orders), absent: isDream ? "entropy; with a threshold maskgit_plus" : "low_confidence",
                "Which positions are revealed first."),
            OptionSpec("temperature", temperatures, default: 0, "Temperature of the tokens; 0: the most probable."),
            OptionSpec(
                "threshold", .number(Checked.divisors.lowerBound...1), absent: "by steps",
                "Each pass reveals all positions of at least this probability, and at least one."),
        ]
        if isDream {
            options += [
                OptionSpec("order_temperature", temperatures, default: 0, "Randomness of the order."),
                OptionSpec(
                    "top_p", .number(0...1), default: 1,
                    "Nucleus sampling: keep the smallest set with cumulative probability ≥ top_p."),
                OptionSpec(
                    "top_k", .integer(0...Int.max), default: 0, "Keep only the top_k most likely tokens; 0: all."),
                OptionSpec("eps", .number(0...1), default: 1e-3, "Last time of the schedule."),
            ]
        } else {
            options += [
                OptionSpec("guidance", .number(0...1e30), default: 0, "Guidance away from a masked prompt; 0: none."),
                OptionSpec(
                    "end_last", .flag, default: false,
                    "Whether tokens that end a text are chosen only when nothing else is left to reveal."),
            ]
        }
        options += [
            OptionSpec("no_end", .flag, default: false, "Whether tokens that end a text are never chosen."),
            OptionSpec(
                "allow_mask", .flag, default: false,
                "Whether the mask token may be chosen, as in the published code, which then leaves masks in the text."),
            OptionSpec(
                "seed", .integer(0...Int.max), default: 0,
                "Seed of the random numbers, as in torch.manual_seed: one stream for the whole batch."),
            OptionSpec(
                "seeds", .list(.integer(0...Int.max), 1...SampleRequest.maxSamples), absent: "seed",
                "A seed for each prompt instead; each is then sampled as if it were alone."),
        ]
        return RequestForm(
            options: options,
            tensors: [
                TensorSpec(
                    "tokens", .i64, "[sum of lengths]",
                    "Tokens of the prompts, one after the other, instead of the option."),
                TensorSpec(
                    "lengths", .i64, "[prompts]",
                    "Number of tokens of each prompt in the tensor tokens; without it they are one prompt."),
            ])
    }

    /// The request that `reader` checked; texts become tokens by `encoder`.
    init(_ reader: RequestReader, _ encoder: PromptEncoder) throws(DiffError) {
        let o = reader.options
        prompts = try encoder.prompts(reader)
        length = try o.get("length")
        infill = try o.get("infill")
        steps = try o.optional("steps")
        blockLength = try o.optional("block_length")
        order = try o.optional("order")
        temperature = try o.get("temperature")
        guidance = o.declares("guidance") ? try o.get("guidance") : 0
        threshold = try o.optional("threshold")
        orderTemperature = o.declares("order_temperature") ? try o.get("order_temperature") : 0
        topP = o.declares("top_p") ? try o.get("top_p") : 1
        topK = o.declares("top_k") ? try o.get("top_k") : 0
        eps = o.declares("eps") ? try o.get("eps") : 1e-3
        seed = try o.get("seed")
        seeds = try o.optional("seeds") ?? []
        allowMask = try o.get("allow_mask")
        noEnd = try o.get("no_end")
        endLast = o.declares("end_last") ? try o.get("end_last") : false
        guard seeds.isEmpty || seeds.count == prompts.count else {
            throw DiffError(.invalidArgument, "request: \(seeds.count) seeds for \(prompts.count) prompts")
        }
    }
}
