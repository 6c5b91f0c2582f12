import DiffCheckpoint
import DiffTensor

/// What a tokenizer does to a text before it is cut, one stage after the other.
struct Normalizer: Sendable {
    /// One change of a text.
    enum Stage: Sendable {
        /// Composes characters (NFC).
        case composition
        /// Each character in lower case by itself.
        case lowercase
        /// Puts a text in the place of each match.
        case replacement(PatternProgram, [UInt32])
        /// Takes white space off the ends.
        case strip(left: Bool, right: Bool)
        /// Puts something before a text that is not empty.
        case prefix([UInt32])
        /// Characters by a compiled table.
        case map(CharacterMap)
    }

    let stages: [Stage]

    static let none = Normalizer([])
    static let nfc = Normalizer([.composition])

    init(_ stages: [Stage]) { self.stages = stages }

    /// Reads the `normalizer` of a tokenizer file. Throws `unsupported` for kinds that are not known.
    init(_ json: JSONObject?) throws(DiffError) {
        var stages: [Stage] = []
        if let json { try Self.read(json, &stages, depth: 0) }
        self.stages = stages
    }

    private static func read(_ json: JSONObject, _ stages: inout [Stage], depth: Int) throws(DiffError) {
        guard depth < 8, stages.count < 64 else { throw DiffError(.format, "\(json.place): too many stages") }
        switch try json.string("type") {
        case "Sequence":
            for part in try json.objects("normalizers").each { try read(part, &stages, depth: depth &+ 1) }
        case "NFC": stages.append(.composition)
        case "Lowercase": stages.append(.lowercase)
        case "Replace":
            let content = try json.string("content")
            stages.append(.replacement(try PatternProgram(json.object("pattern")), content.scalarValues))
        case "Strip":
            stages.append(
                .strip(
                    left: try json.bool("strip_left", default: true), right: try json.bool("strip_right", default: true)
                ))
        case "Precompiled":
            let key = "precompiled_charsmap"
            guard let bytes = Base64.decoded(try json.string(key)) else { throw json.error(key, "expected Base64") }
            stages.append(.map(try CharacterMap(bytes, json.place(of: key))))
        case "Prepend": stages.append(.prefix(try json.string("prepend").scalarValues))
        case let other:
            throw DiffError(
                .unsupported,
                "\(json.place): a normalizer of type \"\(other)\"; known: NFC, Lowercase, Replace, Strip, Prepend, Precompiled, "
                    + "Sequence")
        }
    }

    /// `text` after all stages. Throws `unsupported` when a pattern takes too long, `cancelled`.
    func apply(_ text: TextStretch, _ cancel: CancelFlag? = nil) throws(DiffError) -> NormalizedText {
        var out: NormalizedText?
        for stage in stages.each {
            guard let before = out else {
                out = try stage.apply(text, cancel)
                continue
            }
            out = try stage.apply(TextStretch(before.scalars), cancel).traced(through: before)
        }
        return out ?? NormalizedText(text)
    }
}

extension Normalizer.Stage {
    fileprivate func apply(_ text: TextStretch, _ cancel: CancelFlag?) throws(DiffError) -> NormalizedText {
        switch self {
        case .composition: return try CanonicalComposition.apply(text, cancel)
        case .lowercase: return try Self.lowercased(text, cancel)
        case .replacement(let pattern, let content): return try Self.replaced(text, pattern, content, cancel)
        case .strip(let left, let right): return Self.stripped(text, left, right)
        case .prefix(let prefix):
            guard !text.isEmpty else { return NormalizedText(text) }
            var out = NormalizedText(reserving: text.count &+ prefix.count)
            out.append(TextStretch([]), at: 0, became: prefix)
            out.append(text, at: 0)
            return out
        case .map(let map): return try map.apply(text, cancel)
        }
    }

    private static func lowercased(
        _ text: TextStretch, _ cancel: CancelFlag?
    ) throws(DiffError) -> NormalizedText {
        var out = NormalizedText(reserving: text.count)
        var position = 0
        for scalar in text {
            if position & 0xffff == 0 { try cancel?.check() }
            let index = text.start &+ position
            out.append(text.part(.ordered(index, index &+ 1)), at: position, became: lowercased(scalar))
            position &+= 1
        }
        return out
    }

    /// What a character becomes; nil: it stays.
    private static func lowercased(_ value: UInt32) -> [UInt32]? {
        guard value >= 0x80 else { return (65...90).contains(value) ? [value &+ 32] : nil }
        guard let scalar = Unicode.Scalar(value), scalar.properties.changesWhenLowercased else { return nil }
        return scalar.properties.lowercaseMapping.scalarValues
    }

    private static func replaced(
        _ text: TextStretch, _ pattern: PatternProgram, _ content: [UInt32], _ cancel: CancelFlag?
    ) throws(DiffError) -> NormalizedText {
        let scalars = text.scalars
        let all = TextStretch(scalars)
        var work = PatternWork(all.count, cancel)
        let matches = try pattern.matches(in: scalars, .ordered(0, all.count), &work)
        var out = NormalizedText(reserving: all.count)
        var open = 0
        for match in matches.each {
            out.append(all.part(.ordered(open, match.lowerBound)), at: open)
            // It stands for the last character of the match alone, as in the published readers.
            let last = max(match.lowerBound, match.upperBound &- 1)
            out.append(all.part(.ordered(match.lowerBound, last)), at: match.lowerBound, became: [])
            out.append(all.part(.ordered(last, match.upperBound)), at: last, became: content)
            open = match.upperBound
        }
        out.append(all.part(.ordered(open, all.end)), at: open)
        return out
    }

    private static func stripped(_ text: TextStretch, _ left: Bool, _ right: Bool) -> NormalizedText {
        func isSpace(_ place: Int) -> Bool { text.at(place).map { ScalarSet.whitespace.contains($0) } ?? false }
        var (start, end) = (text.start, text.end)
        while left, isSpace(start) { start &+= 1 }
        while right, end > start, isSpace(end &- 1) { end &-= 1 }
        var out = NormalizedText(reserving: end &- start)
        out.append(text.part(.ordered(text.start, start)), at: 0, became: [])
        out.append(text.part(.ordered(start, end)), at: start &- text.start)
        return out
    }
}
