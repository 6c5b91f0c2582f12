import DiffCheckpoint
import DiffTensor

/// What cuts a text into words before the byte pairs are joined.
struct PreTokenizer: Sendable {
    /// What becomes of the matches of a pattern.
    enum Behavior: String, Sendable, CaseIterable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    /// One stage; later ones cut the pieces of earlier ones.
    enum Stage: Sendable {
        case split(PatternProgram, Behavior, inverts: Bool)
        /// A space before a text that has none.
        case prefixSpace
    }

    /// GPT-2's expression, which the byte level uses by itself.
    static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    /// Qwen2's, which Dream uses.
    static let qwen2 =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    let stages: [Stage]

    init(_ stages: [Stage]) { self.stages = stages }

    /// Reads the `pre_tokenizer` of a tokenizer file. `prefixesSpace`: what is said beside it of a space in front of texts, which counts
    /// when a byte level stands alone. Throws `unsupported` for kinds that byte-level vocabularies do not use.
    init(_ json: JSONObject, prefixesSpace: Bool? = nil) throws(DiffError) {
        var (stages, isByteLevel): ([Stage], Bool) = ([], false)
        try Self.read(json, &stages, &isByteLevel, depth: 0)
        guard isByteLevel else {
            throw DiffError(.unsupported, "\(json.place): no ByteLevel stage; only byte-level vocabularies are read")
        }
        if let prefixesSpace, try json.string("type") == "ByteLevel" {
            stages.removeAll { if case .prefixSpace = $0 { true } else { false } }
            if prefixesSpace { stages.insert(.prefixSpace, at: 0) }
        }
        self.stages = stages
    }

    private static func read(
        _ json: JSONObject, _ stages: inout [Stage], _ isByteLevel: inout Bool, depth: Int
    ) throws(DiffError) {
        guard depth < 8, stages.count < 64 else { throw DiffError(.format, "\(json.place): too many stages") }
        switch try json.string("type") {
        case "Sequence":
            for part in try json.objects("pretokenizers").each {
                try read(part, &stages, &isByteLevel, depth: depth &+ 1)
            }
        case "ByteLevel":
            isByteLevel = true
            if try json.bool("add_prefix_space", default: true) {
                // Behind a Split every word would get one, which no published vocabulary does.
                guard stages.isEmpty else {
                    throw DiffError(.unsupported, "\(json.place): add_prefix_space after another stage")
                }
                stages.append(.prefixSpace)
            }
            if try json.bool("use_regex", default: true) {
                stages.append(.split(try PatternParser.program(gpt2), .isolated, inverts: false))
            }
        case "Split":
            guard !isByteLevel else { throw DiffError(.unsupported, "\(json.place): a Split after the byte level") }
            let behaviors = Behavior.allCases.map(\.rawValue)
            let name = try json.string("behavior", oneOf: behaviors)
            let inverts = try json.bool("invert", default: false)
            let program = try PatternProgram(json.object("pattern"))
            stages.append(.split(program, Behavior(rawValue: name) ?? .isolated, inverts: inverts))
        case "Digits":
            let individual = try json.bool("individual_digits", default: false)
            let program = try PatternParser.program(individual ? #"\p{N}"# : #"\p{N}+"#)
            stages.append(.split(program, .isolated, inverts: false))
        case let other: throw DiffError(.unsupported, "\(json.place): a pre-tokenizer of type \"\(other)\"")
        }
    }

    /// The words of `text` as ranges of it, in order. Throws `unsupported` when a pattern takes too long, `cancelled`.
    func words(_ text: [UInt32], _ cancel: CancelFlag? = nil) throws(DiffError) -> [Range<Int>] {
        var words = [0..<text.count]
        for stage in stages.each {
            guard case .split(let program, let behavior, let inverts) = stage else { continue }
            var (next, work): ([Range<Int>], PatternWork) = ([], PatternWork(text.count, cancel))
            for word in words.each where !word.isEmpty {
                let matches = try program.matches(in: text, word, &work)
                Self.split(word, matches, behavior, inverts, into: &next)
            }
            words = next
        }
        return words.filter { !$0.isEmpty }
    }

    /// Whether a text gets a space in front.
    var prefixesSpace: Bool {
        stages.each.contains { if case .prefixSpace = $0 { true } else { false } }
    }

    /// Appends the parts of `word`: its matches, what lies between them, or both joined.
    private static func split(
        _ word: Range<Int>, _ matches: [Range<Int>], _ behavior: Behavior, _ inverts: Bool, into out: inout [Range<Int>]
    ) {
        // Matches and what lies between them, in order.
        var parts: [(range: Range<Int>, isMatch: Bool)] = []
        var open = word.lowerBound
        for match in matches.each {
            if open < match.lowerBound { parts.append((open..<match.lowerBound, inverts)) }
            parts.append((match, !inverts))
            open = match.upperBound
        }
        if open < word.upperBound { parts.append((open..<word.upperBound, inverts)) }
        var last: Bool?
        for part in parts.each {
            defer { last = part.isMatch }
            let joins: Bool
            switch behavior {
            case .isolated: joins = false
            case .removed:
                if part.isMatch { continue }
                joins = false
            case .contiguous: joins = last == part.isMatch
            case .mergedWithPrevious: joins = part.isMatch && last == false
            case .mergedWithNext: joins = !part.isMatch && last == true
            }
            if joins, let previous = out.popLast() {
                out.append(previous.lowerBound..<part.range.upperBound)
            } else {
                out.append(part.range)
            }
        }
    }
}
