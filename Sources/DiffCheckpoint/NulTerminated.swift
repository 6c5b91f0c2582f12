extension String {
    /// The text at the beginning of `bytes`, up to the first NUL or to their end; invalid UTF-8 is replaced.
    init(untilNUL bytes: UnsafeRawBufferPointer) {
        var length = 0
        while unsafe length < bytes.count && bytes[length] != 0 { length &+= 1 }
        unsafe self.init(decoding: UnsafeRawBufferPointer(start: bytes.baseAddress, count: length), as: UTF8.self)
    }
}
