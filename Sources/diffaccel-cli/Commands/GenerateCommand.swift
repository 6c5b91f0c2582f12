import ArgumentParser
import DiffAccel
import DiffCheckpoint
import DiffModels

/// `diffaccel generate`: text from a masked diffusion language model.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Continues a text with a diffusion language model (LLaDA, Dream).",
        discussion: """
            Example: diffaccel generate LLaDA-8B-Instruct --chat --prompt "What is a tensor?" --length 64 --plan dkv:decode:8 --live

            Filling in: diffaccel generate LLaDA-8B-Base --prompt "The ___ of France is Paris." --blank ___ --length 0

            The text goes to standard output. On a terminal --live shows how it appears, out of order.
            """)

    @Argument(help: "Folder of a model.")
    var model: String

    @Option(help: "The text to continue, - for standard input; several make a batch.")
    var prompt: [String] = []

    @Option(help: "The text as token numbers, such as 12,7,99, instead of --prompt.")
    var tokens: [String] = []

    @Option(help: "A mark in the prompts that stands for one token to fill in, such as ___.")
    var blank: String?

    @Flag(help: "The prompt is what a user says to an instruction-tuned model.")
    var chat = false

    @Flag(help: "Control tokens that a prompt spells out, such as <|endoftext|>, are those tokens, not plain text.")
    var allowControl = false

    @Option(help: ArgumentHelp(NamedPlan.help + " dkv caches keys and values.", valueName: "plan"))
    var plan: String?

    @OptionGroup(title: "Decoding") var decoding: DecodingOptionGroup

    @Flag(help: "Show the text as it appears.")
    var live = false

    @Flag(help: "Print JSON: text, tokens, statistics.")
    var json = false

    @Flag(help: "No statistics.")
    var quiet = false

    @OptionGroup(title: "Session") var sessionOptions: SessionOptionGroup
    @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup

    func run() throws(DiffError) {
        let model = try modelOptions.open(self.model)
        var plan = NamedPlan.plain
        if let name = self.plan { plan = try NamedPlan.read(name) }
        var request = SampleRequest()
        request.text = try decoding.request(prompts(model))
        let session = try sessionOptions.session(model, plan.plan)
        let view = LiveText(model, isWanted: live && !json)
        defer { view.close() }
        let result = try session.sample(request) { event in
            if let text = event.text { view.show(text, event.step, of: event.steps) }
            return .continue
        }
        view.close()
        try write(result, model, plan)
    }

    private func prompts(_ model: Model) throws(DiffError) -> [[Int]] {
        var prompts: [[Int]] = []
        for list in tokens {
            var ids: [Int] = []
            for part in list.split(separator: ",", omittingEmptySubsequences: false) {
                guard let id = Int(part.trimmed) else {
                    throw DiffError(.invalidArgument, "--tokens takes numbers with commas between, found \"\(part)\"")
                }
                ids.append(id)
            }
            prompts.append(ids)
        }
        guard blank == nil || !chat else {
            throw DiffError(.invalidArgument, "--blank is for plain prompts; a conversation has none to fill in")
        }
        for text in prompt {
            let text = text == StandardOutput.name ? try StandardInput.text() : text
            if let blank {
                prompts.append(try model.infillingPrompt(text, blank: blank, allowsControl: allowControl))
            } else {
                prompts.append(try encoded(text, model).map(\.id))
            }
        }
        guard !prompts.isEmpty else { throw DiffError(.invalidArgument, "--prompt or --tokens is needed") }
        return prompts
    }

    private func encoded(_ text: String, _ model: Model) throws(DiffError) -> [Tokenizer.Token] {
        guard chat else {
            return try model.tokenizer.encode(text, addsSpecial: true, allowsControl: allowControl)
        }
        guard let template = model.chatTemplate else {
            throw DiffError(.unsupported, "\(model.familyName) models hold no conversations")
        }
        return try model.tokenizer.encode(
            [ChatTemplate.Message(role: .user, content: text)], as: template, allowsControl: allowControl)
    }

    private func write(_ result: SampleResult, _ model: Model, _ plan: NamedPlan) throws(DiffError) {
        let statistics = result.statistics
        var tokenizer = try? model.tokenizer
        if tokens.isEmpty { tokenizer = try model.tokenizer }
        let texts = (decoding.isInfilling ? result.sequences : result.tokens).map { tokens in
            tokenizer.map {
                $0.decode(
                    model.textTokens(
                        ofSequence: tokens,
                        length: min(decoding.length ?? TextRequest(prompts: []).length, tokens.count)))
            } ?? tokens.map(String.init).joined(separator: ",")
        }
        let count = result.filled.reduce(0) { $0 + $1.count }
        let rate = statistics.seconds > 0 ? Double(count) / statistics.seconds : 0
        if json {
            JSON.object([
                "model": .string(model.path), "plan": .string(plan.name),
                "texts": .array(texts.map { .string($0) }),
                "tokens": .array(result.tokens.map { .array($0.map { .integer($0) }) }),
                "sequences": .array(result.sequences.map { .array($0.map { .integer($0) }) }),
                "filled": .array(result.filled.map { .array($0.map { .integer($0) }) }),
                "tokens_per_second": .number(rate), "statistics": statistics.json,
            ]).print()
            return
        }
        for text in texts { StandardOutput.say(text) }
        try StandardOutput.finish()
        guard !quiet else { return }
        let rows = statistics.steps.reduce(0) { $0 + $1.queryRows }
        Terminal.say(
            "\(count) tokens in \(statistics.steps.count) passes, \(Format.fixed(statistics.seconds, 2)) s "
                + "(\(Format.fixed(rate, 2)) per second); \(Format.grouped(rows)) rows computed; "
                + "\(Format.flops(statistics.flops)); keys and values \(Format.bytes(statistics.cacheBytes)), "
                + "peak beside the weights \(Format.bytes(statistics.peakBytes))")
    }
}
