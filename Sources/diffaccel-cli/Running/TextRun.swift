import DiffAccel
import DiffCheckpoint

/// A run of a model that writes text: how it appears, and what goes to standard output.
struct TextRun {
    let session: Session
    /// A short name of the plan.
    let plan: String
    let request: SampleRequest
    /// Whether the text is shown as it appears.
    let isLive: Bool
    let isJSON: Bool, isQuiet: Bool

    /// Samples and prints.
    func perform() throws(DiffError) {
        let view = LiveText(session.model, isWanted: isLive && !isJSON)
        defer { view.close() }
        let result = try session.sample(request) { event in
            if let text = event.text { view.show(text, event.step, of: event.steps) }
            return .continue
        }
        view.close()
        try write(result)
    }

    private func write(_ result: SampleResult) throws(DiffError) {
        let statistics = result.statistics
        let texts = result.texts.isEmpty ? numbers(result) : result.texts
        let count = result.filled.reduce(0) { $0 + $1.count }
        let rate = statistics.seconds > 0 ? Double(count) / statistics.seconds : 0
        if isJSON {
            JSON.object([
                "model": .string(session.model.path), "plan": .string(plan),
                "texts": .array(texts.map { .string($0) }), "tokens": Self.lists(result.tokens),
                "sequences": Self.lists(result.sequences), "filled": Self.lists(result.filled),
                "tokens_per_second": .number(rate), "statistics": statistics.json,
            ]).print()
            return
        }
        for text in texts { StandardOutput.say(text) }
        try StandardOutput.finish()
        guard !isQuiet else { return }
        let rows = statistics.steps.reduce(0) { $0 + $1.queryRows }
        Terminal.say(
            "\(count) tokens in \(statistics.steps.count) passes, \(Format.fixed(statistics.seconds, 2)) s "
                + "(\(Format.fixed(rate, 2)) per second); \(Format.grouped(rows)) query rows; "
                + "\(Format.flops(statistics.flops)); keys and values \(Format.bytes(statistics.cacheBytes)), "
                + "peak beside the weights \(Format.bytes(statistics.peakBytes))")
    }

    /// Tokens in place of texts: of a model without a tokenizer.
    private func numbers(_ result: SampleResult) -> [String] {
        let isInfilling = request["infill"] == .bool(true) || request["length"] == .integer(0)
        return (isInfilling ? result.sequences : result.tokens).map { tokens in
            tokens.map(String.init).joined(separator: ",")
        }
    }

    private static func lists(_ lists: [[Int]]) -> JSON { .array(lists.map { .array($0.map { .integer($0) }) }) }
}
