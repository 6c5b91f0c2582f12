import DiffCheckpoint
import DiffModels
import DiffTensor

/// Prompts of a request as tokens: those that were given, or those of texts, plain, with blanks, or said in a chat.
struct PromptEncoder: Sendable {
    let core: LanguageCore
    let familyName: String

    /// The tokens of every prompt. Throws `invalidArgument` when there is none, or both texts and tokens; `unsupported` without a tokenizer
    /// for texts.
    func prompts(_ reader: RequestReader) throws(DiffError) -> [[Int]] {
        let options = reader.options
        let texts: [String] = try options.optional("prompt") ?? []
        let hasTokens = options.has("tokens") || reader.integers("tokens") != nil
        guard texts.isEmpty != !hasTokens else {
            throw DiffError(
                .invalidArgument,
                hasTokens
                    ? "request: prompt and tokens are both given; one of them says all"
                    : "request: prompt or tokens is needed")
        }
        guard reader.integers("lengths") == nil || reader.integers("tokens") != nil else {
            throw DiffError(.invalidArgument, "request: the tensor lengths goes with the tensor tokens")
        }
        let (isChat, blank): (Bool, String?) = (try options.get("chat"), try options.optional("blank"))
        guard !isChat || blank == nil else {
            throw DiffError(.invalidArgument, "request: blank is for plain prompts; a conversation has none to fill in")
        }
        let allowsControl: Bool = try options.get("allow_control")
        guard !hasTokens || !(isChat || blank != nil || allowsControl) else {
            throw DiffError(
                .invalidArgument,
                "request: chat, blank and allow_control say how a prompt's text becomes tokens; here tokens are given")
        }
        let prompts = hasTokens ? try Self.given(reader) : try encoded(texts, options, isChat, blank)
        guard (1...SampleRequest.maxSamples).contains(prompts.count) else {
            throw DiffError(
                .invalidArgument, "a request needs 1...\(SampleRequest.maxSamples) prompts, found \(prompts.count)")
        }
        return prompts
    }

    private func encoded(
        _ texts: [String], _ options: Options, _ isChat: Bool, _ blank: String?
    ) throws(DiffError) -> [[Int]] {
        let tokenizer = try core.requiredTokenizer
        let allowsControl: Bool = try options.get("allow_control")
        var prompts: [[Int]] = []
        for text in texts.each {
            if let blank {
                prompts.append(
                    try core.infillingPrompt(text, blank: blank, addsSpecial: true, allowsControl: allowsControl))
            } else if isChat {
                guard let template = ChatTemplate(rawValue: familyName) else {
                    throw DiffError(.unsupported, "\(familyName) models hold no conversations")
                }
                let turn = try ChatTemplate.Message(role: "user", content: text)
                prompts.append(try tokenizer.encode([turn], as: template, allowsControl: allowsControl).map(\.id))
            } else {
                prompts.append(try tokenizer.encode(text, addsSpecial: true, allowsControl: allowsControl).map(\.id))
            }
        }
        return prompts
    }

    /// Tokens of the option, or of the tensor, taken apart by `lengths`.
    private static func given(_ reader: RequestReader) throws(DiffError) -> [[Int]] {
        guard let tokens = reader.integers("tokens") else {
            if case .array(let lists)? = reader.options.json.value("tokens"), case .array? = lists.first {
                return try reader.options.get("tokens", as: [[Int]].self)
            }
            return [try reader.options.get("tokens", as: [Int].self)]
        }
        guard tokens.values.count <= TextRequest.maxTokens else {
            throw DiffError(
                .invalidArgument, "request: \(tokens.values.count) tokens; at most \(TextRequest.maxTokens)")
        }
        guard let lengths = reader.integers("lengths") else { return [tokens.values] }
        var (prompts, next): ([[Int]], Int) = ([], 0)
        for (index, length) in lengths.values.numbered {
            guard length >= 0, length <= tokens.values.count &- next else {
                throw DiffError(
                    .shape,
                    "request: prompt \(index) has \(length) tokens, of \(tokens.values.count &- next) that are left")
            }
            prompts.append(Indices(below: length).map { tokens.values.at(next &+ $0) ?? 0 })
            next &+= length
        }
        guard next == tokens.values.count else {
            throw DiffError(.shape, "request: \(tokens.values.count) tokens, but lengths for \(next)")
        }
        return prompts
    }
}
