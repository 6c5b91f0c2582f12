import DiffCheckpoint
public import DiffModels
import DiffTensor

extension LanguageCore {
    /// The tokenizer. Throws `unsupported` when the folder has none, and what reading it threw.
    var requiredTokenizer: Tokenizer {
        get throws(DiffError) {
            switch tokenizer {
            case .success(let tokenizer?): return tokenizer
            case .success(nil): throw DiffError(.unsupported, "no tokenizer.json, and no vocab.json with merges.txt")
            case .failure(let error): throw error
            }
        }
    }

    /// The tokens of `text`, every `blank` in it standing for one mask token.
    func infillingPrompt(
        _ text: String, blank: String, addsSpecial: Bool, allowsControl: Bool
    ) throws(DiffError) -> [Int] {
        guard let mask = network.configuration.maskToken else {
            throw DiffError(.unsupported, "the model names no mask token; open it with the option mask_token")
        }
        let (bytes, mark) = (Array(text.utf8), Array(blank.utf8))
        guard !mark.isEmpty else { throw DiffError(.invalidArgument, "an empty blank would stand everywhere") }
        let tokenizer = try requiredTokenizer
        var (prompt, piece, position): ([Int], [UInt8], Int) = ([], [], 0)

        func append(_ piece: [UInt8]) throws(DiffError) {
            let text = String(decoding: piece, as: UTF8.self)
            for token in try tokenizer.encode(text, allowsControl: allowsControl).each { prompt.append(token.id) }
        }

        while let byte = bytes.at(position) {
            let isBlank = mark.numbered.allSatisfy { bytes.at(position &+ $0.offset) == $0.element }
            position &+= isBlank ? mark.count : 1
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
}

extension Model {
    private var language: LanguageCore? { (family as? any LanguageFamily)?.core }

    /// The tokenizer in the model's folder. Throws `unsupported` when the model is not a language model or has none there, and what
    /// reading it threw.
    public var tokenizer: Tokenizer {
        get throws(DiffError) {
            guard let language else { throw DiffError(.unsupported, "a \(familyName) model has no tokenizer") }
            return try locating(path) { () throws(DiffError) in try language.requiredTokenizer }
        }
    }

    /// How the model's instruction-tuned versions write conversations; nil when it is not a language model.
    public var chatTemplate: ChatTemplate? { ChatTemplate(rawValue: familyName) }

    /// Tokens that end a text; empty when the model is not a language model.
    public var endTokens: [Int] { language?.network.configuration.endTokens ?? [] }

    /// The mask token; nil when there is none.
    public var maskToken: Int? { language?.network.configuration.maskToken }

    /// The tokens of `text`, every `blank` in it standing for one mask token: a prompt to be filled in. Control tokens in the text are
    /// treated as `Tokenizer.encode` does. Throws `invalidArgument` for an empty blank,
    /// `unsupported` without a
    /// tokenizer or a mask token.
    public func infillingPrompt(
        _ text: String, blank: String, addsSpecial: Bool = true, allowsControl: Bool = false
    ) throws(DiffError) -> [Int] {
        guard let language else { throw DiffError(.unsupported, "a \(familyName) model has no mask token") }
        return try language.infillingPrompt(text, blank: blank, addsSpecial: addsSpecial, allowsControl: allowsControl)
    }

    /// The tokens of a sequence that are its text: the prompt, of which `length` tokens behind are left, and of those what comes before
    /// the first that ends a text.
    public func textTokens(ofSequence sequence: [Int], length: Int) -> [Int] {
        LanguageCore.textTokens(ofSequence: sequence, length: length, ends: endTokens)
    }

    /// `tokens` up to the first that ends a text.
    public func textTokens(_ tokens: [Int]) -> [Int] { LanguageCore.textTokens(tokens, ends: endTokens) }
}

extension LanguageCore {
    static func textTokens(ofSequence sequence: [Int], length: Int, ends: [Int]) -> [Int] {
        let prompt = sequence.count &- max(0, length)
        var (tokens, text): ([Int], [Int]) = ([], [])
        for (position, token) in sequence.numbered {
            if position < prompt { tokens.append(token) } else { text.append(token) }
        }
        return tokens + textTokens(text, ends: ends)
    }

    static func textTokens(_ tokens: [Int], ends: [Int]) -> [Int] {
        var text: [Int] = []
        for token in tokens.each {
            if ends.contains(token) { break }
            text.append(token)
        }
        return text
    }

    /// The texts of `sequences`, of which `length` tokens follow the prompts: those, or of infilling the whole; nil
    /// without a tokenizer.
    func texts(_ sequences: [[Int]], length: Int, whole: Bool) -> [String]? {
        guard case .success(let tokenizer?) = tokenizer else { return nil }
        let ends = network.configuration.endTokens
        return sequences.map { sequence in
            let all = Self.textTokens(ofSequence: sequence, length: length, ends: ends)
            guard !whole else { return tokenizer.decode(all) }
            var text: [Int] = []
            for (position, token) in all.numbered where position >= sequence.count &- length { text.append(token) }
            return tokenizer.decode(text)
        }
    }
}
