import DiffCheckpoint
import DiffTensor

/// How tokens that are pieces become a text again: what tokenizer files call a decoder.
struct PieceDecoder: Sendable {
    enum Step: Sendable {
        /// `<0x41>` is a byte; what bytes in a row are no text becomes a U+FFFD for each.
        case bytes
        /// Marks are spaces again; `dropsFirst`: those of the first token are left out.
        case marks(UInt32, dropsFirst: Bool)
        /// A text in place of another.
        case replacement([UInt8], [UInt8])
        /// All tokens become one.
        case fuse
        /// So many of a character are taken off the ends of each token.
        case strip([UInt8], Int, Int)
    }

    private let steps: [Step]
    /// What stands between tokens; files without a decoder have spaces.
    private let separator: [UInt8]

    init(_ steps: [Step]) { (self.steps, separator) = (steps, []) }

    /// Reads the `decoder` of a tokenizer file. Throws `unsupported` for kinds that are not known.
    init(_ json: JSONObject?) throws(DiffError) {
        var steps: [Step] = []
        if let json { try Self.read(json, &steps, depth: 0) }
        (self.steps, separator) = (steps, json == nil ? [32] : [])
    }

    private static func read(_ json: JSONObject, _ steps: inout [Step], depth: Int) throws(DiffError) {
        guard depth < 8, steps.count < 64 else { throw DiffError(.format, "\(json.place): too many stages") }
        switch try json.string("type") {
        case "Sequence":
            for part in try json.objects("decoders").each { try read(part, &steps, depth: depth &+ 1) }
        case "ByteFallback": steps.append(.bytes)
        case "Fuse": steps.append(.fuse)
        case "Metaspace":
            let text = try json.string("replacement", default: "\u{2581}").unicodeScalars
            guard let mark = text.first, text.count == 1 else {
                throw json.error("replacement", "expected one character")
            }
            steps.append(.marks(mark.value, dropsFirst: try SpaceMarks.prefix(json) != .never))
        case "Replace":
            let pattern = try json.object("pattern")
            guard let text = try pattern.optionalString("String"), !text.isEmpty else {
                throw DiffError(.unsupported, "\(pattern.place): only a String is supported in a decoder")
            }
            steps.append(.replacement(Array(text.utf8), Array(try json.string("content").utf8)))
        case "Strip":
            let content = try json.string("content").utf8
            guard !content.isEmpty else { throw json.error("content", "expected a character") }
            steps.append(
                .strip(
                    Array(content), try json.integer("start", in: 0...1 << 20, default: 0),
                    try json.integer("stop", in: 0...1 << 20, default: 0)))
        case let other:
            throw DiffError(
                .unsupported,
                "\(json.place): a decoder of type \"\(other)\"; known: Metaspace, ByteFallback, Replace, Fuse, Strip, Sequence"
            )
        }
    }

    /// The bytes of the text of `tokens`, each given as the vocabulary writes it.
    func decoded(_ tokens: [[UInt8]]) -> [UInt8] {
        var parts = tokens
        for step in steps.each { parts = step.apply(parts) }
        var bytes: [UInt8] = []
        for (position, part) in parts.numbered {
            if position > 0 { for byte in separator.each { bytes.append(byte) } }
            for byte in part.each { bytes.append(byte) }
        }
        return bytes
    }
}

extension PieceDecoder.Step {
    fileprivate func apply(_ tokens: [[UInt8]]) -> [[UInt8]] {
        switch self {
        case .bytes: return Self.joined(tokens)
        case .fuse: return [tokens.flattened { $0 }]
        case .marks(let mark, let dropsFirst):
            var key: [UInt8] = []
            Tokenizer.append(mark, to: &key)
            return tokens.numbered.map { position, token in
                Self.replaced(token, key, position == 0 && dropsFirst ? [] : [32])
            }
        case .replacement(let text, let content): return tokens.each.map { Self.replaced($0, text, content) }
        case .strip(let content, let start, let stop):
            return tokens.each.map { token in
                var (first, end) = (0, token.count)
                for _ in Indices(below: start) where Self.holds(token, content, first) { first &+= content.count }
                for _ in Indices(below: stop) where end > first && Self.holds(token, content, end &- content.count) {
                    end &-= content.count
                }
                return Self.part(token, first, end)
            }
        }
    }

    private static func part(_ token: [UInt8], _ start: Int, _ end: Int) -> [UInt8] {
        var (part, position): ([UInt8], Int) = ([], start)
        while position < end, let byte = token.at(position) {
            part.append(byte)
            position &+= 1
        }
        return part
    }

    private static func holds(_ token: [UInt8], _ text: [UInt8], _ start: Int) -> Bool {
        guard start >= 0 else { return false }
        return text.numbered.allSatisfy { token.at(start &+ $0.offset) == $0.element }
    }

    private static func replaced(_ token: [UInt8], _ text: [UInt8], _ content: [UInt8]) -> [UInt8] {
        var (out, position): ([UInt8], Int) = ([], 0)
        while let byte = token.at(position) {
            if holds(token, text, position) {
                for byte in content.each { out.append(byte) }
                position &+= text.count
            } else {
                out.append(byte)
                position &+= 1
            }
        }
        return out
    }

    /// Runs of tokens that are bytes as what they write.
    private static func joined(_ tokens: [[UInt8]]) -> [[UInt8]] {
        var (out, run): ([[UInt8]], [UInt8]) = ([], [])
        func close() {
            guard !run.isEmpty else { return }
            let isText = unsafe run.withUnsafeBytes { unsafe String(validating: $0, as: UTF8.self) != nil }
            out.append(isText ? run : run.flattened { _ in [0xef, 0xbf, 0xbd] })
            run = []
        }
        for token in tokens.each {
            if let byte = byte(token) {
                run.append(byte)
            } else {
                close()
                out.append(token)
            }
        }
        close()
        return out
    }

    /// The byte that `<0x41>` means.
    private static func byte(_ token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.at(0) == UInt8(ascii: "<"), token.at(1) == UInt8(ascii: "0"),
            token.at(2) == UInt8(ascii: "x"), token.at(5) == UInt8(ascii: ">"),
            let high = digit(token.at(3)), let low = digit(token.at(4))
        else { return nil }
        return high << 4 | low
    }

    private static func digit(_ letter: UInt8?) -> UInt8? {
        guard let letter else { return nil }
        switch letter {
        case 48...57: return letter &- 48
        case 65...70: return letter &- 55
        case 97...102: return letter &- 87
        default: return nil
        }
    }
}
