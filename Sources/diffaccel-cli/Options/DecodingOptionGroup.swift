import ArgumentParser
import DiffAccel

/// How a text is decoded.
struct DecodingOptionGroup: ParsableArguments {
    private static let unset = TextRequest(prompts: [])

    @Option(help: "Tokens to generate; 0: only fill the masks in the prompt (default: \(unset.length)).")
    var length: Int?

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

    @Option(help: "Temperature of the tokens (default: \(unset.temperature)).")
    var temperature: Double?

    @Option(help: "LLaDA: guidance away from a masked prompt (default: none).")
    var guidance: Double?

    @Option(help: "Dream: nucleus (default: \(unset.topP)).")
    var topP: Double?

    @Option(help: "Dream: largest candidates; 0: all (default: \(unset.topK)).")
    var topK: Int?

    @Option(help: "Dream: randomness of the order (default: \(unset.orderTemperature)).")
    var orderTemperature: Double?

    @Option(help: "Dream: last time of the schedule (default: \(unset.eps)).")
    var eps: Double?

    @Option(help: "Seed of random numbers, one stream for the batch (default: \(unset.seed)).")
    var seed: UInt64?

    @Option(help: "A seed for each prompt instead, with commas between: each then draws as if it were alone.")
    var seeds: String?

    @Flag(help: "Never choose a token that ends the text.")
    var noEnd = false

    @Flag(help: "LLaDA: choose a token that ends the text only when nothing else is left.")
    var endLast = false

    @Flag(help: "Allow the mask token, as the published code does.")
    var allowMask = false

    @Flag(help: "Fill masks in the prompt like those behind it, and print the whole text.")
    var infill = false

    /// Whether the whole sequence is what was asked for.
    var isInfilling: Bool { infill || length == 0 }

    /// The request for `prompts`; what was not given is left as the library has it.
    func request(_ prompts: [[Int]]) throws(DiffError) -> TextRequest {
        var request = TextRequest(prompts: prompts)
        (request.steps, request.blockLength) = (steps, block)
        if infill { request.infills = true }
        (request.order, request.threshold) = (order, threshold)
        if let length { request.length = length }
        if let temperature { request.temperature = temperature }
        if let guidance { request.guidance = guidance }
        if let topP { request.topP = topP }
        if let topK { request.topK = topK }
        if let orderTemperature { request.orderTemperature = orderTemperature }
        if let eps { request.eps = eps }
        if let seed { request.seed = seed }
        if noEnd { request.forbidsEnd = true }
        if endLast { request.delaysEnd = true }
        if allowMask { request.forbidsMask = false }
        for piece in (seeds ?? "").split(separator: ",", omittingEmptySubsequences: false) where seeds != nil {
            guard let number = UInt64(piece.trimmed) else {
                throw DiffError(.invalidArgument, "--seeds: \"\(piece)\" is no number in 0...2^64-1")
            }
            request.seeds.append(number)
        }
        return request
    }
}
