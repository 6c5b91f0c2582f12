public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor

@c @implementation
public func da_model_tokenizer(_ model: da_model?, _ tokenizer: UnsafeMutablePointer<da_tokenizer?>?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe store(tokenizer) { () throws(DiffError) in
            try unsafe HandleTable.object(model, .model, Model.self).tokenizer
        }
    }
}

@c @implementation
public func da_tokenizer_load(
    _ path: UnsafePointer<CChar>?, _ tokenizer: UnsafeMutablePointer<da_tokenizer?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe store(tokenizer) { () throws(DiffError) in
            try unsafe Tokenizer(contentsOf: requiredText(path, "path"))
        }
    }
}

@c @implementation
public func da_tokenizer_encode(
    _ tokenizer: da_tokenizer?, _ text: UnsafePointer<CChar>?, _ length: Int, _ add_special: Int32,
    _ tokens: UnsafeMutablePointer<Int64>?, _ offsets: UnsafeMutablePointer<Int64>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let tokenizer = try unsafe HandleTable.object(tokenizer, .tokenizer, Tokenizer.self)
        let source = try unsafe bytes(text, length, Tokenizer.maxTextBytes, "text")
        guard capacity >= 0, unsafe tokens != nil || capacity == 0 else {
            throw DiffError(.invalidArgument, "tokens is null but capacity is \(capacity)")
        }
        let encoded = try tokenizer.encode(
            unsafe String(decoding: source, as: UTF8.self), addsSpecial: flag(add_special, "add_special"))
        if let needed = unsafe needed { unsafe needed.pointee = encoded.count }
        guard encoded.count <= capacity else { return DA_MORE }
        unsafe encoded.withUnsafeBufferPointer { encoded in
            for index in Indices(below: encoded.count) {
                let token = unsafe encoded[index]
                if let tokens = unsafe tokens { unsafe tokens[index] = Int64(token.id) }
                if let offsets = unsafe offsets {
                    unsafe offsets[2 &* index] = Int64(token.bytes.lowerBound)
                    unsafe offsets[2 &* index &+ 1] = Int64(token.bytes.upperBound)
                }
            }
        }
        return DA_OK
    }
}

@c @implementation
public func da_tokenizer_decode(
    _ tokenizer: da_tokenizer?, _ tokens: UnsafePointer<Int64>?, _ count: Int, _ skip_special: Int32,
    _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let tokenizer = try unsafe HandleTable.object(tokenizer, .tokenizer, Tokenizer.self)
        let ids = try unsafe integers(tokens, count, Tokenizer.maxTextBytes, "tokens")
        let text = try tokenizer.decode(ids, skipsSpecial: flag(skip_special, "skip_special"))
        return try unsafe emit(text, buf, capacity, needed)
    }
}

@c @implementation
public func da_tokenizer_close(_ tokenizer: da_tokenizer?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.remove(tokenizer, .tokenizer)
        return DA_OK
    }
}

@c @implementation
public func da_chat_render(
    _ family: UnsafePointer<CChar>?, _ messages: UnsafePointer<CChar>?, _ length: Int, _ ask: Int32,
    _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let name = try unsafe requiredText(family, "family")
        guard let template = ChatTemplate(rawValue: name) else {
            let known = ChatTemplate.allCases.map(\.rawValue).joined(separator: ", ")
            throw DiffError(.invalidArgument, "family must be one of \(known), found \"\(name)\"")
        }
        let json = try unsafe JSON(
            parsing: bytes(messages, length, JSON.Limits().bytes, "messages"), source: "messages")
        guard case .array(let turns) = json else { throw DiffError(.format, "messages: expected a list") }
        var conversation: [ChatTemplate.Message] = []
        for turn in turns.each {
            let object = try JSONObject(turn, source: "messages")
            conversation.append(
                ChatTemplate.Message(role: try object.string("role"), content: try object.string("content")))
        }
        let text = template.render(conversation, asksForAnswer: try flag(ask, "ask"))
        return try unsafe emit(text, buf, capacity, needed)
    }
}

/// Makes a tokenizer and gives the caller its handle.
private func store(
    _ pointer: UnsafeMutablePointer<da_tokenizer?>?, _ make: () throws(DiffError) -> Tokenizer
) throws(DiffError) -> Int32 {
    let target = try unsafe out(pointer, "tokenizer")
    unsafe target.pointee = nil
    let handle = try HandleTable.insert(make(), .tokenizer)
    unsafe target.pointee = HandleTable.pointer(handle)
    return DA_OK
}

/// `count` bytes of the caller's.
private func bytes(
    _ pointer: UnsafePointer<CChar>?, _ count: Int, _ limit: Int, _ name: String
) throws(DiffError) -> UnsafeRawBufferPointer {
    guard count >= 0, count <= limit, unsafe pointer != nil || count == 0 else {
        throw DiffError(.invalidArgument, "\(name): 0...\(limit) bytes, found \(count), or a null pointer")
    }
    return unsafe UnsafeRawBufferPointer(start: pointer, count: pointer == nil ? 0 : count)
}

/// `count` integers of the caller's, copied.
func integers(
    _ pointer: UnsafePointer<Int64>?, _ count: Int, _ limit: Int, _ name: String
) throws(DiffError) -> [Int] {
    guard count >= 0, count <= limit else {
        throw DiffError(.invalidArgument, "\(name): 0...\(limit) of them, found \(count)")
    }
    guard let pointer = unsafe pointer else {
        guard count == 0 else { throw DiffError(.invalidArgument, "\(name) is null, its count \(count)") }
        return []
    }
    let raw = unsafe UnsafeRawPointer(pointer)
    return Indices(below: count).map {
        Int(unsafe raw.loadUnaligned(fromByteOffset: $0 &* 8, as: Int64.self))
    }
}
