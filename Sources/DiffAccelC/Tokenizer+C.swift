import CBoundary
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
    _ tokenizer: da_tokenizer?, _ text: UnsafePointer<CChar>?, _ length: Int, _ flags: Int32,
    _ cancel: UnsafePointer<Int32>?, _ tokens: UnsafeMutablePointer<Int64>?, _ offsets: UnsafeMutablePointer<Int64>?,
    _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let tokenizer = try unsafe HandleTable.object(tokenizer, .tokenizer, Tokenizer.self)
        let source = try unsafe bytes(text, length, Tokenizer.maxTextBytes, "text")
        let flags = try encodeFlags(flags, DA_ENCODE_SPECIAL | DA_ENCODE_CONTROL)
        return try unsafe emit(tokens, offsets, capacity, needed) { () throws(DiffError) in
            try unsafe tokenizer.encode(
                source, addsSpecial: flags & DA_ENCODE_SPECIAL != 0, allowsControl: flags & DA_ENCODE_CONTROL != 0,
                cancel: CancelFlag(cancel))
        }
    }
}

@c @implementation
public func da_tokenizer_decode(
    _ tokenizer: da_tokenizer?, _ tokens: UnsafePointer<Int64>?, _ count: Int, _ skip_special: Int32,
    _ cancel: UnsafePointer<Int32>?, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let tokenizer = try unsafe HandleTable.object(tokenizer, .tokenizer, Tokenizer.self)
        let ids = try unsafe integers(tokens, count, Tokenizer.maxTextBytes, "tokens")
        let skipsSpecial = try flag(skip_special, "skip_special")
        let text = try tokenizer.decode(ids, skipsSpecial: skipsSpecial, cancel: unsafe CancelFlag(cancel))
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

/// `flags`, which may have the bits of `known`.
func encodeFlags(_ flags: Int32, _ known: Int32) throws(DiffError) -> Int32 {
    guard flags & ~known == 0 else {
        throw DiffError(.invalidArgument, "flags: \(flags) has bits that are not DA_ENCODE_* for this call")
    }
    return flags
}

/// Puts tokens into the caller's arrays; DA_MORE when they do not fit.
func emit(
    _ tokens: UnsafeMutablePointer<Int64>?, _ offsets: UnsafeMutablePointer<Int64>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>?, _ encode: () throws(DiffError) -> [Tokenizer.Token]
) throws(DiffError) -> Int32 {
    guard capacity >= 0, unsafe tokens != nil || capacity == 0 else {
        throw DiffError(.invalidArgument, "tokens is null but capacity is \(capacity)")
    }
    let encoded = try encode()
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

extension CancelFlag {
    /// A flag that follows a word of the caller's, for the time of a call; nil: nothing is followed.
    convenience init(_ word: UnsafePointer<Int32>?) {
        self.init()
        guard let word = unsafe word else { return }
        // As a number: a pointer must not be kept by what other threads may call, and this one is not used after the call.
        let address = UInt(bitPattern: word)
        follow(Source(isSet: { unsafe cb_word(UnsafePointer(bitPattern: address)) != 0 }, clear: {}))
    }
}

/// `count` bytes of the caller's.
func bytes(
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
