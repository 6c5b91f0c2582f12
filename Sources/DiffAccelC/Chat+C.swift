public import CDiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor

@c @implementation
public func da_chat_encode(
    _ tokenizer: da_tokenizer?, _ family: UnsafePointer<CChar>?, _ messages: UnsafePointer<CChar>?, _ length: Int,
    _ ask: Int32, _ flags: Int32, _ cancel: UnsafePointer<Int32>?, _ tokens: UnsafeMutablePointer<Int64>?,
    _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let tokenizer = try unsafe HandleTable.object(tokenizer, .tokenizer, Tokenizer.self)
        let template = try unsafe template(family)
        let conversation = try unsafe conversation(messages, length)
        let asks = try flag(ask, "ask")
        let flags = try encodeFlags(flags, DA_ENCODE_CONTROL)
        return try unsafe emit(tokens, nil, capacity, needed) { () throws(DiffError) in
            try tokenizer.encode(
                conversation, as: template, asksForAnswer: asks, allowsControl: flags & DA_ENCODE_CONTROL != 0,
                cancel: unsafe CancelFlag(cancel))
        }
    }
}

@c @implementation
public func da_chat_render(
    _ family: UnsafePointer<CChar>?, _ messages: UnsafePointer<CChar>?, _ length: Int, _ ask: Int32,
    _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let template = try unsafe template(family)
        let conversation = try unsafe conversation(messages, length)
        return try unsafe emit(
            template.render(conversation, asksForAnswer: flag(ask, "ask")), buf, capacity, needed)
    }
}

private func template(_ family: UnsafePointer<CChar>?) throws(DiffError) -> ChatTemplate {
    let name = try unsafe requiredText(family, "family")
    guard let template = ChatTemplate(rawValue: name) else {
        let known = ChatTemplate.allCases.map(\.rawValue).joined(separator: ", ")
        throw DiffError(.invalidArgument, "family must be one of \(known), found \"\(name)\"")
    }
    return template
}

/// The messages in `count` bytes of JSON.
private func conversation(
    _ messages: UnsafePointer<CChar>?, _ count: Int
) throws(DiffError) -> [ChatTemplate.Message] {
    // Several times the largest text that is encoded at once: escapes are longer than what they stand for.
    let limits = JSON.Limits(bytes: 4 * Tokenizer.maxTextBytes, depth: 4)
    let source = try unsafe bytes(messages, count, limits.bytes, "messages")
    guard unsafe !hasNUL(source) else {
        throw DiffError(.format, "messages: a NUL character, which no message can hold; take it out")
    }
    guard case .array(let turns) = try unsafe JSON(parsing: source, limits: limits, source: "messages") else {
        throw DiffError(.format, "messages: expected a list of objects with role and content")
    }
    guard !turns.isEmpty else { throw DiffError(.invalidArgument, "messages: at least one is needed") }
    var conversation: [ChatTemplate.Message] = []
    for (number, turn) in turns.numbered {
        let object = try JSONObject(turn, source: "messages", path: "[\(number)]")
        try object.allow(only: ["role", "content"])
        let (role, content) = (try object.string("role"), try object.string("content"))
        conversation.append(
            try locating("messages: [\(number)]") { () throws(DiffError) in
                try ChatTemplate.Message(role: role, content: content)
            })
    }
    return conversation
}

/// Whether a NUL stands in a JSON text, as it is or as `\u0000`.
private func hasNUL(_ text: UnsafeRawBufferPointer) -> Bool {
    var (isEscaped, position) = (false, 0)
    while position < text.count {
        let byte = unsafe text[position]
        if byte == 0 { return true }
        if isEscaped, byte == UInt8(ascii: "u"), unsafe text.dropFirst(position &+ 1).starts(with: "0000".utf8) {
            return true
        }
        isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
        position &+= 1
    }
    return false
}
