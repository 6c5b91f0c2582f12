import ArgumentParser
import DiffAccel

/// What is asked of the model: its own options, and how many samples.
struct RequestOptionGroup: ParsableArguments {
    static let discussion = """
        Other options, such as --labels, --steps or --prompt, are the model's: diffaccel sample MODEL --help lists them, with \
        types and defaults. Lists have commas between or are JSON (3,5 or [3,5]); a flag alone is true, and --flag=false turns it off.
        """

    @Option(name: .customLong(ModelOptionWords.carrier), help: .hidden)
    var given: [GivenOption] = []

    @Option(help: "Samples of each class, or pictures or sounds of each prompt (default: 1).")
    var count: Int?

    @Option(
        help:
            "Samples computed together; 0: all of them (default: 32, or all where the numbers drawn depend on it; of prompts 1 at 512 x 512, and 1 sound)."
    )
    var batch: Int?

    /// Whether pictures are decoded in parts that ranks can share: tiles, or the pictures of a batch.
    var hasPartsToDecode: Bool { rows > 1 || given.contains { $0.name == "tile" && $0.value != "never" } }

    /// Rows of each label.
    var rows: Int { count ?? 1 }

    func validate() throws {
        guard (1...SampleRequest.maxSamples).contains(rows) else {
            throw ValidationError("--count must be 1...\(SampleRequest.maxSamples).")
        }
        if let batch, batch < 0 { throw ValidationError("--batch must not be negative.") }
    }

    /// The request to a model of these `facts` by `command`. Plans that are compared take as many steps as the first learned one.
    func request(
        _ facts: ModelFacts, by command: any RequestCommand.Type, comparing plans: [NamedPlan] = []
    ) throws -> SampleRequest {
        let form = try facts.model.requestForm
        let own = ModelOptionWords.known(of: command).keys.filter { $0 != ModelOptionWords.carrier }
        let named = try given.map { option in
            // Classes are named as people like to.
            guard option.name == "labels", form.declares("labels"), let text = option.value, !text.hasPrefix("[") else {
                return option
            }
            return GivenOption("labels", "\(try facts.classIndices(text))")
        }
        var request = SampleRequest(try GivenValues(form: form, ownNames: own).options(named))
        if form.declares("steps"), request["steps"] == nil, request["spacing"] == nil {
            request["steps"] = plans.lazy.compactMap { facts.model.learnedSteps(of: $0.plan) }.first.map {
                .integer($0)
            }
        }
        if form.declares("labels") {
            try repeatLabels(&request, facts)
        } else if let name = facts.perPrompt {
            try repeatPrompts(&request, name)
        } else {
            try refuseCounts()
        }
        if form.declares("prompt") { try readPrompts(&request) }
        return request
    }

    /// Each class as often as it is wanted; without any all of them, if there are few.
    private func repeatLabels(_ request: inout SampleRequest, _ facts: ModelFacts) throws(DiffError) {
        var classes: [Int] = []
        switch request["labels"] {
        case nil:
            guard facts.classes <= 16 else {
                throw DiffError(.invalidArgument, "the model has \(facts.classes) classes; choose some with --labels")
            }
            classes = Array(0..<max(1, facts.classes))
        case .array(let labels)?: classes = try labels.map { (label) throws(DiffError) in try facts.classIndex(label) }
        case let label?: classes = [try facts.classIndex(label)]
        }
        guard classes.count <= SampleRequest.maxSamples / rows else {
            throw DiffError(
                .invalidArgument,
                "\(classes.count) classes, \(rows) of each: more than \(SampleRequest.maxSamples) samples")
        }
        request.labels = classes.flatMap { Array(repeating: $0, count: rows) }
    }

    /// Each prompt as often as samples are wanted of it, which the option `name` says.
    private func repeatPrompts(_ request: inout SampleRequest, _ name: String) throws {
        guard let count else { return }
        guard request[name] == nil else {
            let words = name.split(separator: "_").joined(separator: "-")
            throw UsageError("--count and --\(words) say the same: give one of them")
        }
        request[name] = .integer(count)
    }

    private func refuseCounts() throws {
        guard count == nil, batch == nil else {
            throw UsageError("--count and --batch are for models with classes; several --prompt make a batch of texts")
        }
    }

    private func readPrompts(_ request: inout SampleRequest) throws(DiffError) {
        switch request["prompt"] {
        case .array(let prompts)?:
            request["prompt"] = .array(try prompts.map { (prompt) throws(DiffError) in try Self.prompt(prompt) })
        case let prompt?: request["prompt"] = try Self.prompt(prompt)
        case nil: return
        }
    }

    /// A prompt of the name - is standard input.
    private static func prompt(_ given: JSON) throws(DiffError) -> JSON {
        guard given == .string(StandardOutput.name) else { return given }
        return .string(try StandardInput.text())
    }
}

extension GivenOption {
    fileprivate init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
}

extension RequestForm {
    /// Whether requests may have the option `name`.
    func declares(_ name: String) -> Bool { options.contains { $0.name == name } }
}

extension SampleRequest {
    /// The classes, by number; none of a request without.
    var labels: [Int] {
        get { self["labels"]?.asArray?.compactMap(\.asInt) ?? [] }
        set { self["labels"] = .array(newValue.map { .integer($0) }) }
    }

    /// The seed, also where none is given.
    var seed: Int { self["seed"]?.asInt ?? 0 }

    /// How many samples it asks for.
    var samples: Int {
        if let labels = self["labels"]?.asArray { return labels.count }
        let said = (self["images_per_prompt"] ?? self["waveforms_per_prompt"])?.asInt
        let perPrompt = max(1, said ?? 1)
        if let prompts = self["prompt"]?.asArray {
            return perPrompt <= Self.maxSamples ? prompts.count * perPrompt : prompts.count
        }
        if said != nil { return perPrompt }
        if let tokens = self["tokens"]?.asArray, tokens.first?.asArray != nil { return tokens.count }
        return 1
    }
}
