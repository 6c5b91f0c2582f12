import DiffCheckpoint
public import DiffTensor

/// A plan of one method written as a word, where a file would be too much: `alternate`, `interval:3`, `dkv:decode:8`.
public struct PlanWord: Sendable, Equatable {
    /// What stands before the first colon.
    public let rule: String
    /// What follows it, between colons.
    public let arguments: [String]

    /// The parts of `text`; a text too long to be one has none.
    init(_ text: String) {
        var parts = text.utf8.count <= 4096 ? text.pieces(at: ":") : []
        rule = parts.first ?? ""
        if !parts.isEmpty { parts.removeFirst() }
        arguments = parts
    }

    /// A natural number among the arguments; nil when there is none.
    public func number(_ index: Int) -> Int? { arguments.at(index)?.naturalNumber }

    /// An error that says how the word is written.
    public func malformed(_ form: String, _ suggestion: String = "") -> DiffError {
        let word = ([rule] + arguments).joined(separator: ":")
        return DiffError(.invalidArgument, "\"\(word)\" is not a plan: write \(form)\(suggestion)")
    }
}

/// An entry that can be written as a word.
public protocol WordedPlanEntry: PlanEntry {
    /// The rules, and the form of the word that each begins, as help texts show them: `interval:N`.
    static var words: [(rule: String, form: String)] { get }
    /// The entry that `word`, which begins with one of the rules, writes out. Throws `invalidArgument`, saying which form is right.
    init(word: PlanWord) throws(DiffError)
}

extension Plan {
    private static var worded: [any WordedPlanEntry.Type] { methods.compactMap { $0 as? any WordedPlanEntry.Type } }

    private static var rules: [String] { worded.flattened { $0.words.map(\.rule) } }

    /// The forms of all words, as help texts show them.
    public static var wordForms: String { worded.flattened { $0.words.map(\.form) }.joined(separator: ", ") }

    /// The plan that `word` writes out. Throws `invalidArgument`, saying which form is right or which rule may have been meant.
    public init(word: String) throws(DiffError) {
        let parts = PlanWord(word)
        guard let type = Self.worded.each.first(where: { $0.words.contains { $0.rule == parts.rule } }) else {
            throw DiffError(.invalidArgument, "\"\(word)\": \(Self.unknown(word))")
        }
        self.init([try type.init(word: parts)])
    }

    /// What to say of a word that begins like none.
    public static func unknown(_ word: String) -> String {
        "no rule of that name\(Spelling.suggestion(for: PlanWord(word).rule, among: rules)) (rules: \(wordForms))"
    }

    /// Whether `text` begins as a word does, whatever follows.
    public static func isWord(_ text: String) -> Bool { rules.each.contains(PlanWord(text).rule) }
}
