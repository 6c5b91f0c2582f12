import DiffCheckpoint
import DiffModels
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
    static var takesMaskToken: Bool { true }

    static var forwardNames: (inputs: [String], outputs: [String]) { (["tokens"], ["logits"]) }

    static var rules: ConfigRules { LanguageConfiguration.rules }

    static func recognises(_ config: JSONObject) -> Bool {
        LanguageConfiguration.family(of: config)?.rawValue == name
    }

    var layouts: [SiteLayout] { [core.network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(core.network) }
    var sampling: (any FamilySampling)? {
        LanguageSampling(network: core.network, encoder: PromptEncoder(core: core, familyName: Self.name))
    }

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
