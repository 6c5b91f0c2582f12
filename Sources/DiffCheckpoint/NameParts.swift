import DiffTensor

// Names of tensors taken apart, compared as bytes: as characters, a name with a combining mark behind a dot would not begin as it does.

extension String {
    /// What follows `prefix`, or nil when it does not begin so.
    public func without(prefix: String) -> String? {
        let (bytes, start) = (Array(utf8), Array(prefix.utf8))
        for (position, byte) in start.numbered where bytes.at(position) != byte { return nil }
        return Self.text(bytes, from: start.count, to: bytes.count)
    }

    /// What stands before `suffix`, or nil when it does not end so.
    public func without(suffix: String) -> String? {
        let (bytes, end) = (Array(utf8), Array(suffix.utf8))
        let backwards = Array(bytes.reversed())
        for (position, byte) in Array(end.reversed()).numbered where backwards.at(position) != byte { return nil }
        return Self.text(bytes, from: 0, to: bytes.count &- end.count)
    }

    /// The name cut in two at its end and before each of its dots from the end on, 32 of them at most: no module is nested as deep.
    public var splits: [(start: String, rest: String)] {
        let bytes = Array(utf8)
        var dots: [Int] = []
        for (position, byte) in bytes.numbered where byte == UInt8(ascii: ".") { dots.append(position) }
        var splits: [(start: String, rest: String)] = [(self, "")]
        for dot in dots.reversed().each where splits.count <= 32 {
            splits.append((Self.text(bytes, from: 0, to: dot), Self.text(bytes, from: dot, to: bytes.count)))
        }
        return splits
    }

    /// What stands between the dots.
    public var components: [String] {
        var components: [String] = []
        var part: [UInt8] = []
        for byte in Array(utf8).each {
            if byte == UInt8(ascii: ".") {
                components.append(String(decoding: part, as: UTF8.self))
                part = []
            } else {
                part.append(byte)
            }
        }
        components.append(String(decoding: part, as: UTF8.self))
        return components
    }

    @inline(never)
    private static func text(_ bytes: [UInt8], from start: Int, to end: Int) -> String {
        guard start >= 0, start <= end, end <= bytes.count else { return "" }
        return unsafe bytes.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return "" }
            return unsafe String(
                decoding: UnsafeBufferPointer(start: base + start, count: end &- start), as: UTF8.self)
        }
    }
}
