import DiffTensor

// Names of tensors taken apart, compared as bytes: as characters, a name with a combining mark behind a dot would not begin as it does.

/// Inside an extension of String `Indices` is String's own.
private typealias Places = Indices

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
        let length = bytes.count &- end.count
        for (position, byte) in end.numbered where bytes.at(length &+ position) != byte { return nil }
        return Self.text(bytes, from: 0, to: length)
    }

    /// The name cut in two at its end and before each of its dots from the end on, 32 of them at most: no module is nested as deep.
    public var splits: [(start: String, rest: String)] {
        let bytes = Array(utf8)
        var splits: [(start: String, rest: String)] = [(self, "")]
        for back in Places(below: bytes.count) {
            let position = bytes.count &- 1 &- back
            guard bytes.at(position) == UInt8(ascii: "."), splits.count <= 32 else { continue }
            splits.append(
                (Self.text(bytes, from: 0, to: position), Self.text(bytes, from: position, to: bytes.count)))
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

    private static func text(_ bytes: [UInt8], from start: Int, to end: Int) -> String {
        var part: [UInt8] = []
        for (position, byte) in bytes.numbered where position >= start && position < end { part.append(byte) }
        return String(decoding: part, as: UTF8.self)
    }
}
