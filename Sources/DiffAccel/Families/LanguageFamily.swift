import DiffCheckpoint
public import DiffModels
import DiffTensor

/// LLaDA: LLaDA-8B, LLaDA-1.5.
struct LLaDAFamily: LanguageFamily {
    static let name = LanguageConfiguration.Family.llada.rawValue
    let core: LanguageCore
    init(_ opened: Opened) throws(DiffError) { core = try LanguageCore(opened, .llada) }
}

/// iLLaDA: iLLaDA-8B.
struct ILLaDAFamily: LanguageFamily {
    static let name = LanguageConfiguration.Family.illada.rawValue
    let core: LanguageCore
    init(_ opened: Opened) throws(DiffError) { core = try LanguageCore(opened, .illada) }
}

/// Dream: Dream-7B, DiffuCoder, Dream-Coder.
struct DreamFamily: LanguageFamily {
    static let name = LanguageConfiguration.Family.dream.rawValue
    let core: LanguageCore
    init(_ opened: Opened) throws(DiffError) { core = try LanguageCore(opened, .dream) }
}

/// Masked diffusion language models: what the families have in common.
protocol LanguageFamily: ModelFamily {
    var core: LanguageCore { get }
}

/// A network, its tokenizer and its way of decoding.
struct LanguageCore: Sendable {
    let network: LanguageModel
    /// The tokenizer of the model's folder: none, or why it cannot be used. A model can do without.
    let tokenizer: Result<Tokenizer?, DiffError>

    init(_ opened: Opened, _ family: LanguageConfiguration.Family) throws(DiffError) {
        var configuration = try LanguageConfiguration(opened.architecture)
        guard configuration.family == family else {
            throw DiffError(.incompatible, "the config is that of a \(configuration.family.rawValue) model")
        }
        try Self.complete(&configuration, opened)
        if let mask = opened.options.maskToken {
            guard mask >= 0, mask < configuration.vocabulary else {
                throw DiffError(.invalidArgument, "mask_token \(mask) is outside 0..<\(configuration.vocabulary)")
            }
            configuration.maskToken = mask
        }
        network = try LanguageModel(configuration, opened.weights)
        do throws(DiffError) {
            try Self.enterTokenizerConfig(opened, family)
            let controls = configuration.endTokens + [configuration.maskToken].compactMap(\.self)
            tokenizer = .success(try Tokenizer(in: opened.checkpoint, controls: controls))
        } catch {
            guard error.code != .outOfMemory else { throw error }
            Log.write(.warning, "the tokenizer cannot be used: \(error.message)")
            tokenizer = .failure(error)
        }
    }
}

extension LanguageFamily {
    static var forwardNames: (inputs: [String], outputs: [String]) { (["tokens"], ["logits"]) }

    static var rules: ConfigRules { LanguageConfiguration.rules }

    static func recognises(_ config: JSONObject) -> Bool {
        LanguageConfiguration.family(of: config)?.rawValue == name
    }

    var layouts: [SiteLayout] { [core.network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(core.network) }
    var sampling: (any FamilySampling)? { LanguageSampling(network: core.network) }

    var description: [String: JSON] {
        let c = core.network.configuration
        var vocabulary: JSON = .null
        if case .success(let tokenizer?) = core.tokenizer { vocabulary = .integer(tokenizer.vocabulary) }
        return [
            "input": .string("tokens"),
            "config": .object([
                "layers": .integer(c.layers), "width": .integer(c.width), "heads": .integer(c.heads),
                "kv_heads": .integer(c.kvHeads), "head_dim": .integer(c.headDim), "mlp": .integer(c.mlpWidth),
                "vocabulary": .integer(c.vocabulary), "tied": .bool(c.isTied),
            ]),
            "mask_token": c.maskToken.map { .integer($0) } ?? .null,
            "end_tokens": .array(c.endTokens.map { .integer($0) }),
            "trained_length": .integer(c.trainedLength),
            "tokenizer": vocabulary,
        ]
    }

    /// `tokens` [n] of one text give `logits` [1, n, vocabulary].
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        guard wanted.allSatisfy({ $0 == "logits" }) else {
            throw DiffError(
                .invalidArgument, "no output \"\(wanted.first { $0 != "logits" } ?? "")\"; this model has logits")
        }
        let tokens = try inputs.integers("tokens")
        guard !tokens.isEmpty else { throw DiffError(.shape, "the input \"tokens\" is empty") }
        let all = [PositionSet(all: tokens.count)]
        let memory = try core.network.memory([KeyValueMemory.Sequence(length: tokens.count)], run)
        let states = try core.network.states([tokens], queries: all, wanted: all, memory, run)
        return ["logits": try core.network.logits(states, run)]
    }
}

extension Model {
    private var language: LanguageCore? { (family as? any LanguageFamily)?.core }

    /// The tokenizer in the model's folder. Throws `unsupported` when the model is no language model or has none there, and what
    /// reading it threw.
    public var tokenizer: Tokenizer {
        get throws(DiffError) {
            guard let language else { throw DiffError(.unsupported, "a \(familyName) model has no tokenizer") }
            switch language.tokenizer {
            case .success(let tokenizer?): return tokenizer
            case .success(nil):
                throw DiffError(.unsupported, "\(path): no tokenizer.json, and no vocab.json with merges.txt")
            case .failure(let error): throw error
            }
        }
    }

    /// How the model's instruction-tuned versions write conversations; nil when it is no language model.
    public var chatTemplate: ChatTemplate? { ChatTemplate(rawValue: familyName) }

    /// Tokens that end a text; empty when the model is no language model.
    public var endTokens: [Int] { language?.network.configuration.endTokens ?? [] }

    /// The mask token; nil when there is none.
    public var maskToken: Int? { language?.network.configuration.maskToken }

    /// The tokens of `text`, every `blank` in it standing for one mask token: a prompt to be filled in. Control tokens in the text are
    /// treated as ``Tokenizer/encode(_:addsSpecial:allowsControl:cancel:)`` does. Throws `invalidArgument` for an empty blank, `unsupported` without a
    /// tokenizer or a mask token.
    public func infillingPrompt(
        _ text: String, blank: String, addsSpecial: Bool = true, allowsControl: Bool = false
    ) throws(DiffError) -> [Int] {
        guard let mask = maskToken else {
            throw DiffError(.unsupported, "the model names no mask token; open it with the option mask_token")
        }
        let (bytes, mark) = (Array(text.utf8), Array(blank.utf8))
        guard !mark.isEmpty else { throw DiffError(.invalidArgument, "an empty blank would stand everywhere") }
        let tokenizer = try tokenizer
        var (prompt, piece, place): ([Int], [UInt8], Int) = ([], [], 0)

        func append(_ piece: [UInt8]) throws(DiffError) {
            let text = String(decoding: piece, as: UTF8.self)
            for token in try tokenizer.encode(text, allowsControl: allowsControl).each { prompt.append(token.id) }
        }

        while let byte = bytes.at(place) {
            let isBlank = mark.numbered.allSatisfy { bytes.at(place &+ $0.offset) == $0.element }
            place &+= isBlank ? mark.count : 1
            guard isBlank else {
                piece.append(byte)
                continue
            }
            try append(piece)
            prompt.append(mask)
            piece = []
        }
        try append(piece)
        return addsSpecial ? try surrounded(prompt, tokenizer) : prompt
    }

    /// `prompt` with what the tokenizer puts around a text: around one that is not empty that is what stands for none of its bytes.
    private func surrounded(_ prompt: [Int], _ tokenizer: Tokenizer) throws(DiffError) -> [Int] {
        var (before, after): ([Int], [Int]) = ([], [])
        var isBehind = false
        for token in try tokenizer.encode("a", addsSpecial: true).each {
            if !token.bytes.isEmpty {
                isBehind = true
            } else if isBehind {
                after.append(token.id)
            } else {
                before.append(token.id)
            }
        }
        return before + prompt + after
    }

    /// The tokens of a sequence that are its text: the prompt, of which `length` tokens behind are left, and of those what comes before
    /// the first that ends a text.
    public func textTokens(ofSequence sequence: [Int], length: Int) -> [Int] {
        let prompt = sequence.count &- max(0, length)
        var (tokens, text): ([Int], [Int]) = ([], [])
        for (place, token) in sequence.numbered {
            if place < prompt { tokens.append(token) } else { text.append(token) }
        }
        return tokens + textTokens(text)
    }

    /// `tokens` up to the first that ends a text.
    public func textTokens(_ tokens: [Int]) -> [Int] {
        let ends = endTokens
        var text: [Int] = []
        for token in tokens.each {
            if ends.contains(token) { break }
            text.append(token)
        }
        return text
    }
}
