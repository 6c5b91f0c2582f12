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

            The text goes to standard output. On a terminal --live shows how it appears, out of order.
            """)

    @Argument(help: "Folder of a model.")
    var model: String

    @Option(help: "The text to continue; several make a batch.")
    var prompt: [String] = []

    @Option(help: "The text as token numbers, such as 12,7,99, instead of --prompt.")
    var tokens: [String] = []

    @Flag(help: "The prompt is what a user says to an instruction-tuned model.")
    var chat = false

    @Flag(help: "Control tokens that a prompt spells out, such as <|endoftext|>, are those tokens, not plain text.")
    var allowControl = false

    @Option(
        help: ArgumentHelp(
            NamedPlan.help + " dkv:VARIANT[:REFRESH[:WINDOW]] caches keys and values.", valueName: "plan"))
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
            for part in list.split(separator: ",") {
                guard let id = Int(part) else {
                    throw DiffError(.invalidArgument, "--tokens takes numbers with commas between, found \"\(part)\"")
                }
                ids.append(id)
            }
            prompts.append(ids)
        }
        for text in prompt { prompts.append(try encoded(text, model).map(\.id)) }
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
        let texts = result.tokens.map { tokens in
            tokenizer.map { $0.decode(model.textTokens(tokens)) }
                ?? tokens.map(String.init).joined(separator: ",")
        }
        let count = result.tokens.reduce(0) { $0 + $1.count }
        let rate = statistics.seconds > 0 ? Double(count) / statistics.seconds : 0
        if json {
            JSON.object([
                "model": .string(model.path), "plan": .string(plan.name),
                "texts": .array(texts.map { .string($0) }),
                "tokens": .array(result.tokens.map { .array($0.map { .integer($0) }) }),
                "tokens_per_second": .number(rate), "statistics": statistics.json,
            ]).print()
            return
        }
        for text in texts { print(text) }
        guard !quiet else { return }
        let fed = statistics.steps.reduce(0) { $0 + $1.fedRows }
        Terminal.say(
            "\(count) tokens in \(statistics.steps.count) passes, \(Format.fixed(statistics.seconds, 2)) s "
                + "(\(Format.fixed(rate, 2)) per second); \(Format.grouped(fed)) rows fed; "
                + "\(Format.flops(statistics.flops)); keys and values \(Format.bytes(statistics.cacheBytes)), "
                + "peak beside the weights \(Format.bytes(statistics.peakBytes))")
    }
}

/// `diffaccel tokenize`: what a model's tokenizer makes of lines of text.
struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Reads lines of text and prints the tokens of each as JSON.",
        discussion: "Example: printf 'Hello world\\n' | diffaccel tokenize LLaDA-8B-Instruct/tokenizer.json")

    @Argument(help: "A tokenizer.json, or the folder of one.")
    var path: String

    @Flag(help: "With the special tokens that the tokenizer puts around a text.")
    var special = false

    @Flag(help: "Control tokens that a line spells out, such as <|endoftext|>, are those tokens, not plain text.")
    var allowControl = false

    @Flag(help: "With the bytes of each token: [token, first, behind the last].")
    var offsets = false

    @Flag(help: "The words that a line is cut into before they become tokens, control tokens aside, instead of tokens.")
    var words = false

    @Flag(help: "Lines are JSON strings, which may hold line feeds.")
    var jsonLines = false

    @Flag(help: "Lines are JSON lists of tokens, to be decoded.")
    var decode = false

    func run() throws(DiffError) {
        let tokenizer = try Tokenizer(contentsOf: path)
        while let line = readLine() {
            if decode {
                let tokens = try JSON(parsing: line, source: "standard input").asArray ?? []
                let ids = tokens.compactMap { if case .integer(let id) = $0 { id } else { nil } }
                print(JSON.string(tokenizer.decode(ids)).serialized())
                continue
            }
            var text = line
            if jsonLines { text = try JSON(parsing: line, source: "standard input").asText ?? "" }
            if words {
                print(JSON.array(try tokenizer.words(in: text).map { .string($0) }).serialized())
                continue
            }
            let tokens = try tokenizer.encode(text, addsSpecial: special, allowsControl: allowControl)
            let values = tokens.map { token -> JSON in
                guard offsets else { return .integer(token.id) }
                return .array([token.id, token.bytes.lowerBound, token.bytes.upperBound].map { .integer($0) })
            }
            print(JSON.array(values).serialized())
        }
    }
}
