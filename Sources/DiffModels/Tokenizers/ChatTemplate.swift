import DiffTensor

/// How a conversation is written for the instruction-tuned models.
public enum ChatTemplate: String, Sendable, CaseIterable {
    /// LLaDA-8B-Instruct and LLaDA-1.5.
    case llada
    /// Dream-Instruct and other models that descend from Qwen (ChatML).
    case dream

    /// One turn of a conversation.
    public struct Message: Sendable, Equatable {
        /// `system`, `user` or `assistant`.
        public var role: String
        /// What was said.
        public var content: String

        /// A turn.
        public init(role: String, content: String) { (self.role, self.content) = (role, content) }
    }

    /// The conversation as the model was trained to read it, ready to be encoded without further special tokens. `asksForAnswer` opens
    /// the assistant's turn.
    public func render(_ messages: [Message], asksForAnswer: Bool = true) -> String {
        switch self {
        case .llada:
            var text = "<|startoftext|>"
            for message in messages.each {
                text +=
                    "<|start_header_id|>\(message.role)<|end_header_id|>\n\n\(Self.trimmed(message.content))<|eot_id|>"
            }
            return asksForAnswer ? text + "<|start_header_id|>assistant<|end_header_id|>\n\n" : text
        case .dream:
            var text = ""
            // The published template puts this in front of conversations that bring no system text.
            if messages.first?.role != "system" { text += "<|im_start|>system\n\(Self.dreamSystem)<|im_end|>\n" }
            for message in messages.each { text += "<|im_start|>\(message.role)\n\(message.content)<|im_end|>\n" }
            return asksForAnswer ? text + "<|im_start|>assistant\n" : text
        }
    }

    private static let dreamSystem = "You are a helpful assistant."

    /// Without white space at both ends, as the templates' `trim` does.
    private static func trimmed(_ text: String) -> String {
        var scalars = text.unicodeScalars[...]
        while let first = scalars.first, first.properties.isWhitespace { scalars = scalars.dropFirst() }
        while let last = scalars.last, last.properties.isWhitespace { scalars = scalars.dropLast() }
        return String(String.UnicodeScalarView(scalars))
    }
}
