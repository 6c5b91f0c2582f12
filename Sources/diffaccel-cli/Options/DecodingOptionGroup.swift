import ArgumentParser
import DiffAccel

/// How a text is decoded.
struct DecodingOptionGroup: ParsableArguments {
    @Option(help: "Tokens to generate; 0: only fill the masks in the prompt.")
    var length = 128

    @Option(help: "Passes over the text (default: one per token).")
    var steps: Int?

    @Option(help: "Tokens of a block (default: all in one).")
    var block: Int?

    @Option(
        help:
            "What is revealed first. LLaDA: low_confidence, random; Dream: entropy, maskgit_plus, topk_margin, origin.")
    var order: String?

    @Option(help: "Reveal everything of at least this probability.")
    var threshold: Double?

    @Option(help: "Temperature of the tokens.")
    var temperature = 0.0

    @Option(help: "LLaDA: guidance away from a masked prompt.")
    var guidance = 0.0

    @Option(help: "Dream: nucleus.")
    var topP = 1.0

    @Option(help: "Dream: largest candidates.")
    var topK = 0

    @Option(help: "Dream: randomness of the order.")
    var orderTemperature = 0.0

    @Option(help: "Seed of random numbers.")
    var seed: UInt64 = 0

    @Flag(help: "Never choose a token that ends the text.")
    var noEnd = false

    @Flag(help: "Allow the mask token, as the published code does.")
    var allowMask = false

    @Flag(help: "Fill masks in the prompt like those behind it, and print the whole text.")
    var infill = false

    /// Whether the whole sequence is what was asked for.
    var isInfilling: Bool { infill || length == 0 }

    /// The request for `prompts`.
    func request(_ prompts: [[Int]]) -> TextRequest {
        var request = TextRequest(prompts: prompts)
        (request.length, request.steps, request.blockLength) = (length, steps, block)
        request.infills = infill
        (request.order, request.threshold) = (order, threshold)
        (request.temperature, request.guidance) = (temperature, guidance)
        (request.topP, request.topK, request.orderTemperature) = (topP, topK, orderTemperature)
        (request.seed, request.forbidsEnd, request.forbidsMask) = (seed, noEnd, !allowMask)
        return request
    }
}
