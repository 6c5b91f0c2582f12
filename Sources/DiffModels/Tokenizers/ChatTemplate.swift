public import DiffTensor

/// How a conversation is written for the instruction-tuned models.
public enum ChatTemplate: String, Sendable, CaseIterable {
    /// LLaDA-8B-Instruct and LLaDA-1.5.
    case llada
    /// Dream-Instruct and other models that descend from Qwen (ChatML).
    case dream

    /// Who speaks.
    public enum Role: String, Sendable, CaseIterable { case system, user, assistant }

    /// One turn of a conversation.
    public struct Message: Sendable, Equatable {
        /// Who speaks.
        public var role: Role
        /// What was said.
        public var content: String

        /// A turn.
        public init(role: Role, content: String) { (self.role, self.content) = (role, content) }

        /// A turn by a role that has the name `role`. Throws `invalidArgument` for another one.
        public init(role: String, content: String) throws(DiffError) {
            guard let known = Role(rawValue: role) else {
                let names = Role.allCases.map(\.rawValue).joined(separator: ", ")
                throw DiffError(.invalidArgument, "the role must be one of \(names), found \"\(role.prefix(100))\"")
            }
            self.init(role: known, content: content)
        }
    }

    /// A part of a rendered conversation: the template's text, or a message.
    struct Part: Equatable {
        let text: String
        let isContent: Bool
    }

    /// The conversation as the model was trained to read it. `asksForAnswer` opens the assistant's turn.
    ///
    /// For reading: a message that holds the text of a control token looks like one here.
    /// ``Tokenizer/encode(_:as:asksForAnswer:allowsControl:cancel:)``
    /// tells the two apart.
    public func render(_ messages: [Message], asksForAnswer: Bool = true) -> String {
        parts(messages, asksForAnswer: asksForAnswer).map(\.text).joined()
    }

    /// `system`: what is said when a conversation brings no system text, if the family says anything.
    func parts(_ messages: [Message], asksForAnswer: Bool, system: String = dreamSystem) -> [Part] {
        var parts: [Part] = []
        func write(_ text: String) { parts.append(Part(text: text, isContent: false)) }
        func say(_ text: String) { parts.append(Part(text: text, isContent: true)) }
        switch self {
        case .llada:
            write("<|startoftext|>")
            for message in messages.each {
                write("<|start_header_id|>\(message.role.rawValue)<|end_header_id|>\n\n")
                say(Self.trimmed(message.content))
                write("<|eot_id|>")
            }
            if asksForAnswer { write("<|start_header_id|>assistant<|end_header_id|>\n\n") }
        case .dream:
            // The published template puts this in front of conversations that bring no system text.
            if messages.first?.role != .system { write("<|im_start|>system\n\(system)<|im_end|>\n") }
            for message in messages.each {
                write("<|im_start|>\(message.role.rawValue)\n")
                say(message.content)
                write("<|im_end|>\n")
            }
            if asksForAnswer { write("<|im_start|>assistant\n") }
        }
        return parts
    }

    private static let dreamSystem = "You are a helpful assistant."

    /// Looks whether a folder's own template, in Jinja, is one of the family's, and takes the system text from it. Throws `unsupported`
    /// when it writes conversations in another way.
    func system(in template: String?) throws(DiffError) -> String {
        guard let template else { return Self.dreamSystem }
        let source = Array(template.utf8)
        let marks =
            self == .llada
            ? ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"] : ["<|im_start|>", "<|im_end|>"]
        for mark in marks.each where Self.ends(of: mark, in: source).isEmpty {
            throw DiffError(
                .unsupported,
                "the folder's chat template does not write \(mark), so it is none that \(rawValue) models were published with: write the "
                    + "conversation yourself, and encode it with control tokens allowed")
        }
        // The template's source has a backslash and an n for a line feed.
        for start in Self.ends(of: "<|im_start|>system\\n", in: source).each {
            guard let end = source[start...].firstIndex(where: { "<'\"{}\\".utf8.contains($0) }), end > start,
                source[end...].starts(with: "<|im_end|>".utf8)
            else { continue }
            return String(decoding: source[start..<end], as: UTF8.self)
        }
        return Self.dreamSystem
    }

    /// The places behind each `word` in `text`.
    private static func ends(of word: String, in text: [UInt8]) -> [Int] {
        text.indices.filter { text[$0...].starts(with: word.utf8) }.map { $0 &+ word.utf8.count }
    }

    /// Without white space at both ends, as the templates' `trim` does.
    private static func trimmed(_ text: String) -> String {
        var scalars = text.unicodeScalars[...]
        while let first = scalars.first, isSpace(first) { scalars = scalars.dropFirst() }
        while let last = scalars.last, isSpace(last) { scalars = scalars.dropLast() }
        return String(String.UnicodeScalarView(scalars))
    }

    /// What Python takes for white space: four separators besides Unicode's.
    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || (0x1c...0x1f).contains(scalar.value)
    }
}
