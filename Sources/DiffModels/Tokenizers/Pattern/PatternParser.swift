import DiffTensor

/// Reads the regular expressions of tokenizer files, which are written for Oniguruma (its own syntax, Unicode): alternatives, groups,
/// classes, properties, greedy, lazy and possessive repetition, look-ahead and look-behind, options `i`, `m`, `x`. What needs more
/// is refused by name.
struct PatternParser {
    let text: [UInt32]
    var position = 0
    private var depth = 0
    /// How many `\R` were read.
    var lineBreaks = 0

    /// What `(?imx)` switches.
    struct Options {
        var foldsCase = false
        /// The dot matches a line feed too.
        var dotIsAll = false
        /// White space and comments in the pattern mean nothing.
        var isExtended = false
    }

    /// Bounds on a pattern out of a file.
    private static let maxLength = 10_000, maxDepth = 32, maxRepeat = 100_000
    /// Repetitions of a repetition.
    private static let maxStacked = 4

    /// The program of `pattern`. Throws `format` for a bad one, `unsupported` for one that needs more.
    static func program(_ pattern: String) throws(DiffError) -> PatternProgram {
        let scalars = pattern.unicodeScalars.map(\.value)
        guard scalars.count <= maxLength else {
            throw DiffError(.format, "a pattern of \(scalars.count) characters; at most \(maxLength) are read")
        }
        var parser = PatternParser(text: scalars)
        let node = try parser.alternatives(Options())
        guard parser.position == scalars.count else { throw parser.failure("an unmatched )") }
        return try PatternCompiler.program(node)
    }

    private init(text: [UInt32]) { self.text = text }

    func failure(_ what: String, _ code: DiffError.Code = .format) -> DiffError {
        DiffError(code, "pattern: \(what) at character \(position)")
    }

    /// What Oniguruma has and this library does not, by its name.
    func refusal(_ what: String) -> DiffError { failure("\(what), which is not supported,", .unsupported) }

    func peek(_ character: Unicode.Scalar, at offset: Int = 0) -> Bool {
        text.at(position &+ offset) == character.value
    }

    mutating func take(_ characters: String) -> Bool {
        for (offset, scalar) in characters.unicodeScalars.enumerated() where !peek(scalar, at: offset) { return false }
        position &+= characters.unicodeScalars.count
        return true
    }

    // MARK: Branches

    private mutating func alternatives(_ options: Options) throws(DiffError) -> PatternNode {
        depth &+= 1
        defer { depth &-= 1 }
        guard depth <= Self.maxDepth else { throw failure("too many nested groups") }
        var branches = [try sequence(options)]
        while take("|") { branches.append(try sequence(options)) }
        return branches.count == 1 ? branches[0] : .either(branches)
    }

    private mutating func sequence(_ options: Options) throws(DiffError) -> PatternNode {
        var nodes: [PatternNode] = []
        while true {
            try skip(options)
            guard position < text.count, !peek("|"), !peek(")") else { break }
            let node = try repeated(atom(options), options)
            // Letters in a row are looked at together: several may be one other character.
            if case .folded(let next) = node, case .folded(let before)? = nodes.last {
                nodes.put(.folded(before + next), at: nodes.count &- 1)
            } else {
                nodes.append(node)
            }
        }
        return .sequence(nodes)
    }

    /// Comments, and white space where it means nothing.
    private mutating func skip(_ options: Options) throws(DiffError) {
        while let scalar = text.at(position) {
            if take("(?#") {
                while !peek(")") {
                    guard position < text.count else { throw failure("a comment without an end") }
                    position &+= peek("\\") ? 2 : 1
                }
                position &+= 1
            } else if options.isExtended, ScalarSet.whitespace.contains(scalar) {
                position &+= 1
            } else if options.isExtended, take("#") {
                while let next = text.at(position), next != 10 {
                    position &+= 1
                    _ = next
                }
            } else {
                return
            }
        }
    }

    // MARK: Repetition

    private mutating func repeated(_ node: PatternNode, _ options: Options) throws(DiffError) -> PatternNode {
        var (node, stacked) = (node, 0)
        while true {
            try skip(options)
            var bounds: (least: Int, most: Int?)
            // Counts in braces have no possessive form: a plus behind them repeats them. `{3,1}` is possessive instead.
            var (canBeLazy, canBePossessive) = (true, true)
            if take("*") {
                bounds = (0, nil)
            } else if take("+") {
                bounds = (1, nil)
            } else if take("?") {
                bounds = (0, 1)
            } else if peek("{"), let counts = try counts() {
                bounds = (counts.least, counts.most)
                canBePossessive = false
                // `{2}?` means once or not at all.
                canBeLazy = !counts.isFixed && !counts.isSwapped
                if counts.isSwapped {
                    node = try looped(node, bounds, .possessive, &stacked)
                    continue
                }
            } else {
                return node
            }
            let mode: PatternNode.Mode =
                canBeLazy && take("?") ? .lazy : canBePossessive && take("+") ? .possessive : .greedy
            node = try looped(node, bounds, mode, &stacked)
        }
    }

    private func looped(
        _ node: PatternNode, _ bounds: (least: Int, most: Int?), _ mode: PatternNode.Mode, _ stacked: inout Int
    ) throws(DiffError) -> PatternNode {
        stacked &+= 1
        guard stacked <= Self.maxStacked else { throw failure("too many repetitions of one another") }
        guard !node.isAssertion else { throw failure("a repeated assertion") }
        return .loop(node, least: bounds.least, most: bounds.most, mode)
    }

    private struct Counts {
        var least: Int, most: Int?
        var isFixed = false, isSwapped = false
    }

    /// Counts in braces; nil, and nothing taken, when the brace is a character like others.
    private mutating func counts() throws(DiffError) -> Counts? {
        let start = position
        position &+= 1
        let low = number()
        var counts = Counts(least: low ?? 0, most: low, isFixed: true)
        if take(",") {
            let high = number()
            counts = Counts(least: low ?? 0, most: high)
            if low == nil, high == nil { counts.isFixed = true }
        }
        guard take("}"), low != nil || counts.most != nil else {
            position = start
            return nil
        }
        guard max(counts.least, counts.most ?? 0) <= Self.maxRepeat else {
            throw failure("a count beyond \(Self.maxRepeat)")
        }
        if let most = counts.most, most < counts.least {
            (counts.least, counts.most, counts.isSwapped) = (most, counts.least, true)
        }
        return counts
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = text.at(position), (48...57).contains(digit), value ?? 0 < 100_000_000 {
            value = (value ?? 0) &* 10 &+ Int(digit &- 48)
            position &+= 1
        }
        return value
    }

    // MARK: Atoms

    private mutating func atom(_ options: Options) throws(DiffError) -> PatternNode {
        if peek("(") { return try group(options) }
        if take("[") { return try set(characterClass(options.foldsCase), options) }
        if take(".") { return .set(options.dotIsAll ? ScalarSet.all : ScalarSet.noLineFeed) }
        if take("^") { return .anchor(.lineStart) }
        if take("$") { return .anchor(.lineEnd) }
        if peek("*") || peek("+") || peek("?") { throw failure("a repetition of nothing") }
        if peek("{") {
            let start = position
            if try counts() != nil { throw failure("a repetition of nothing") }
            position = start
        }
        if take("\\") { return try escaped(options) }
        guard let scalar = text.at(position) else { throw failure("an unexpected end") }
        position &+= 1
        return literal(scalar, options)
    }

    func literal(_ scalar: UInt32, _ options: Options) -> PatternNode {
        options.foldsCase ? .folded([scalar]) : .set(ScalarSet([.range(scalar, scalar)]))
    }

    /// A class without regard to case: what stands for several characters may be those.
    private func set(_ set: ScalarSet, _ options: Options) -> PatternNode {
        guard options.foldsCase, !set.isNegated else { return .set(set) }
        var sequences: Set<[UInt32]> = []
        for (scalar, folded) in CaseFolding.long where set.contains(scalar) { sequences.insert(folded) }
        guard !sequences.isEmpty else { return .set(set) }
        let alternatives = sequences.sorted { $0.lexicographicallyPrecedes($1) }.map { folded in
            PatternNode.sequence(folded.map { .set(ScalarSet([.range($0, $0)], foldsCase: true)) })
        }
        return .either([.set(set)] + alternatives)
    }

    private mutating func closed(_ options: Options) throws(DiffError) -> PatternNode {
        let node = try alternatives(options)
        guard take(")") else { throw failure("a missing )") }
        return node
    }

    private mutating func group(_ options: Options) throws(DiffError) -> PatternNode {
        if take("(?:") { return try closed(options) }
        if take("(?=") { return .look(try closed(options), isNegative: false) }
        if take("(?!") { return .look(try closed(options), isNegative: true) }
        if take("(?>") { return .atomic(try closed(options)) }
        if take("(?<=") { return try behind(options, isNegative: false) }
        if take("(?<!") { return try behind(options, isNegative: true) }
        if take("(?~") { throw refusal("an absence operator") }
        if take("(?(") { throw refusal("a condition") }
        if take("(?{") || take("(*") { throw refusal("a callout") }
        if take("(?<") { return try named(until: ">", options) }
        if take("(?'") { return try named(until: "'", options) }
        if take("(?") { return try switched(options) }
        position &+= 1
        return .group(try closed(options), isNumbered: true)
    }

    private mutating func named(until end: Unicode.Scalar, _ options: Options) throws(DiffError) -> PatternNode {
        let start = position
        while let scalar = text.at(position), scalar != end.value {
            guard ScalarSet.word.contains(scalar), position > start || !(48...57).contains(scalar) else { break }
            position &+= 1
        }
        guard position > start, peek(end) else { throw failure("a bad name of a group") }
        position &+= 1
        return .group(try closed(options), isNumbered: true)
    }

    /// Options for a group, or for the rest of the group that they stand in, alternatives included.
    private mutating func switched(_ options: Options) throws(DiffError) -> PatternNode {
        var (options, isOn) = (options, true)
        while let value = text.at(position), let scalar = Unicode.Scalar(value) {
            position &+= 1
            switch scalar {
            case "i": options.foldsCase = isOn
            case "m": options.dotIsAll = isOn
            case "x": options.isExtended = isOn
            case "-": isOn = false
            case ":": return .group(try closed(options), isNumbered: false)
            case ")": return .group(try alternatives(options), isNumbered: false)
            default: throw refusal("a group that begins with ?\(scalar)")
            }
        }
        throw failure("an unexpected end")
    }

    private mutating func behind(_ options: Options, isNegative: Bool) throws(DiffError) -> PatternNode {
        let before = lineBreaks
        let node = try closed(options)
        // Oniguruma finds no single line feed there.
        guard lineBreaks == before else { throw refusal("\\R inside a look-behind") }
        let isBad = node.contains {
            switch $0 {
            case .look: true
            case .group(_, let isNumbered): isNumbered && isNegative
            default: false
            }
        }
        guard !isBad else { throw refusal("a look-ahead or a group inside a look-behind") }
        return .behind(node, isNegative: isNegative)
    }
}
