import DiffTensor

/// A table of what characters become, as SentencePiece compiles it: a double array of prefixes, and the texts in their place.
///
/// Source: the `Precompiled` normalizer of the tokenizers package; its habits are kept, also those that lose marks.
struct CharacterMap: Sendable {
    private let units: [UInt32]
    /// Texts in UTF-8, each ended by a NUL.
    private let texts: [UInt8]

    /// Reads the compiled table. Throws `format` when it cannot be one.
    init(_ bytes: [UInt8], _ place: String) throws(DiffError) {
        guard bytes.count >= 8 else { throw DiffError(.format, "\(place): a table of \(bytes.count) bytes") }
        func unit(_ at: Int) -> UInt32 {
            var value: UInt32 = 0
            for byte in Indices(below: 4) {
                value |= UInt32(bytes.at(at &+ byte) ?? 0) << UInt32(truncatingIfNeeded: 8 &* byte)
            }
            return value
        }
        let size = Int(unit(0))
        guard size >= 4, size % 4 == 0, size <= bytes.count &- 4 else {
            throw DiffError(
                .format, "\(place): a table of \(bytes.count) bytes cannot begin with \(size) bytes of units")
        }
        units = Indices(below: size / 4).map { unit(4 &+ 4 &* $0) }
        let texts = Self.bytes(behind: 4 &+ size, bytes)
        let isText = unsafe texts.withUnsafeBytes { unsafe String(validating: $0, as: UTF8.self) != nil }
        guard texts.isEmpty || texts.last == 0, isText else {
            throw DiffError(.format, "\(place): its texts are no UTF-8, or the last has no end")
        }
        self.texts = texts
    }

    private static func bytes(behind start: Int, _ bytes: [UInt8]) -> [UInt8] {
        var (rest, position): ([UInt8], Int) = ([], start)
        while let byte = bytes.at(position) {
            rest.append(byte)
            position &+= 1
        }
        return rest
    }

    /// What the shortest beginning of `key` that is in the table becomes; nil when none is.
    private func first(_ key: [UInt8]) -> [UInt32]? {
        guard let root = units.at(0) else { return nil }
        var position = Self.offset(root)
        for byte in key.each {
            guard byte != 0 else { return nil }
            position ^= Int(byte)
            guard let unit = units.at(position), unit & 0x8000_00ff == UInt32(byte) else { return nil }
            position ^= Self.offset(unit)
            if unit >> 8 & 1 == 1 {
                guard let leaf = units.at(position) else { return nil }
                return text(Int(leaf & 0x7fff_ffff))
            }
        }
        return nil
    }

    private static func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 0x200) >> 6) }

    /// The scalars of the text that begins at byte `start`; nil when none does.
    private func text(_ start: Int) -> [UInt32]? {
        var (bytes, position): ([UInt8], Int) = ([], start)
        while let byte = texts.at(position), byte != 0 {
            bytes.append(byte)
            position &+= 1
        }
        guard position < texts.count else { return nil }
        return unsafe bytes.withUnsafeBytes { unsafe SourceText($0).scalars }
    }

    /// `text` with every character, as readers see it, in the form that the table gives it: short ones as a whole, else scalar by scalar.
    /// Throws `cancelled`.
    func apply(_ text: TextStretch, _ cancel: CancelFlag?) throws(DiffError) -> NormalizedText {
        var out = NormalizedText(reserving: text.count)
        var position = 0
        for count in Self.characters(text).each {
            if position & 0xffff == 0 { try cancel?.check() }
            let start = text.start &+ position
            append(text.part(.ordered(start, start &+ count)), at: position, to: &out)
            position &+= count
        }
        return out
    }

    /// Bytes from which on a character is not looked up as a whole.
    private static let longest = 6

    private func append(_ character: TextStretch, at position: Int, to out: inout NormalizedText) {
        var key: [UInt8] = []
        for scalar in character where key.count < Self.longest { Tokenizer.append(scalar, to: &key) }
        if key.count < Self.longest, let whole = first(key) {
            out.append(character, at: position, became: whole)
            return
        }
        var offset = 0
        for scalar in character {
            var key: [UInt8] = []
            Tokenizer.append(scalar, to: &key)
            let index = character.start &+ offset
            out.append(
                character.part(.ordered(index, index &+ 1)), at: position &+ offset, became: first(key))
            offset &+= 1
        }
    }

    /// The numbers of scalars of the characters of `text`.
    private static func characters(_ text: TextStretch) -> [Int] {
        // Below U+0300 nothing joins but the two halves of a line's end.
        guard text.contains(where: { $0 >= 0x300 || $0 == 13 }) else {
            return Indices(below: text.count).map { _ in 1 }
        }
        var scalars = String.UnicodeScalarView()
        for value in text { scalars.append(Unicode.Scalar(value) ?? "\u{fffd}") }
        var counts: [Int] = []
        for character in String(scalars) {
            var count = 0
            for _ in character.unicodeScalars { count &+= 1 }
            counts.append(count)
        }
        return counts
    }
}
