import DiffTensor

/// Reads the regular expressions of tokenizer files into instructions: alternatives, groups, classes, properties, greedy, lazy and
/// possessive repetition, look-ahead, `(?i:`. Anything else is refused by name.
struct PatternParser {
    let text: [UInt32]
    var position = 0
    private var depth = 0, emitted = 0
    private var instructions: [PatternInstruction] = []
    private var sets: [ScalarSet] = []

    /// Bounds on a pattern out of a file.
    private static let maxLength = 10_000, maxDepth = 32, maxInstructions = 20_000, maxRepeat = 1000
    /// Repetitions of a repetition, and nodes turned into instructions: empty ones make none, however often they are repeated.
    private static let maxStacked = 4, maxEmitted = 1_000_000

    /// The program of `pattern`. Throws `format` for a bad one, `unsupported` for one that needs more.
    static func program(_ pattern: String) throws(DiffError) -> PatternProgram {
        let scalars = pattern.unicodeScalars.map(\.value)
        guard scalars.count <= maxLength else {
            throw DiffError(.format, "a pattern of \(scalars.count) characters; at most \(maxLength) are read")
        }
        var parser = PatternParser(text: scalars)
        let node = try parser.alternatives(foldsCase: false)
        guard parser.position == scalars.count else { throw parser.failure("an unmatched )") }
        try parser.emit(node)
        parser.instructions.append(.match)
        return PatternProgram(instructions: parser.instructions, sets: parser.sets)
    }

    private init(text: [UInt32]) { self.text = text }

    private indirect enum Node {
        case set(ScalarSet)
        case sequence([Node])
        case either([Node])
        case loop(Node, least: Int, most: Int?, Mode)
        case look(Node, isNegative: Bool)
        case atomic(Node)
        case start, end
    }

    private enum Mode { case greedy, lazy, possessive }

    func failure(_ what: String, _ code: DiffError.Code = .format) -> DiffError {
        DiffError(code, "pattern: \(what) at character \(position)")
    }

    func peek(_ character: Unicode.Scalar, at offset: Int = 0) -> Bool {
        text.at(position &+ offset) == character.value
    }

    mutating func take(_ characters: String) -> Bool {
        for (offset, scalar) in characters.unicodeScalars.enumerated() where !peek(scalar, at: offset) { return false }
        position &+= characters.unicodeScalars.count
        return true
    }

    private mutating func alternatives(foldsCase: Bool) throws(DiffError) -> Node {
        depth &+= 1
        defer { depth &-= 1 }
        guard depth <= Self.maxDepth else { throw failure("too many nested groups") }
        var branches = [try sequence(foldsCase)]
        while take("|") { branches.append(try sequence(foldsCase)) }
        return branches.count == 1 ? branches[0] : .either(branches)
    }

    private mutating func sequence(_ foldsCase: Bool) throws(DiffError) -> Node {
        var nodes: [Node] = []
        while position < text.count, !peek("|"), !peek(")") {
            nodes.append(try repeated(atom(foldsCase)))
        }
        return .sequence(nodes)
    }

    private mutating func repeated(_ node: Node) throws(DiffError) -> Node {
        var (node, stacked) = (node, 0)
        while true {
            let bounds: (Int, Int?)
            if take("*") {
                bounds = (0, nil)
            } else if take("+") {
                bounds = (1, nil)
            } else if take("?") {
                bounds = (0, 1)
            } else if peek("{"), let counts = try counts() {
                bounds = counts
            } else {
                return node
            }
            stacked &+= 1
            guard stacked <= Self.maxStacked else { throw failure("too many repetitions of one another") }
            switch node {
            case .look, .start, .end: throw failure("a repeated assertion")
            default: break
            }
            let mode: Mode = take("?") ? .lazy : take("+") ? .possessive : .greedy
            node = .loop(node, least: bounds.0, most: bounds.1, mode)
        }
    }

    private mutating func counts() throws(DiffError) -> (Int, Int?)? {
        let start = position
        position &+= 1
        let least = number()
        var most = least
        if take(",") { most = number() }
        guard take("}"), least != nil || most != nil else {
            position = start
            throw failure("a brace that is no count")
        }
        let low = least ?? 0
        guard low <= Self.maxRepeat, (most ?? low) <= Self.maxRepeat, most ?? low >= low else {
            throw failure("a count beyond \(Self.maxRepeat)")
        }
        return (low, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = text.at(position), (48...57).contains(digit), value ?? 0 < 100_000 {
            value = (value ?? 0) &* 10 &+ Int(digit &- 48)
            position &+= 1
        }
        return value
    }

    private mutating func atom(_ foldsCase: Bool) throws(DiffError) -> Node {
        if take("(?:") { return try closed(alternatives(foldsCase: foldsCase)) }
        if take("(?i:") { return try closed(alternatives(foldsCase: true)) }
        if take("(?=") { return .look(try closed(alternatives(foldsCase: foldsCase)), isNegative: false) }
        if take("(?!") { return .look(try closed(alternatives(foldsCase: foldsCase)), isNegative: true) }
        if take("(?>") { return .atomic(try closed(alternatives(foldsCase: foldsCase))) }
        if peek("("), peek("?", at: 1) { throw failure("a group of an unknown kind", .unsupported) }
        if take("(") { return try closed(alternatives(foldsCase: foldsCase)) }
        if take("[") { return .set(try characterClass(foldsCase)) }
        if take(".") { return .set(ScalarSet([.range(10, 10)], isNegated: true)) }
        if take("^") { return .start }
        if take("$") { return .end }
        if peek("*") || peek("+") || peek("?") { throw failure("a repetition of nothing") }
        if take("\\") { return .set(ScalarSet([try escape()], foldsCase: foldsCase)) }
        guard let scalar = text.at(position) else { throw failure("an unexpected end") }
        position &+= 1
        return .set(ScalarSet(scalar, foldsCase: foldsCase))
    }

    private mutating func closed(_ node: Node) throws(DiffError) -> Node {
        guard take(")") else { throw failure("a missing )") }
        return node
    }

    private mutating func append(_ instruction: PatternInstruction) throws(DiffError) {
        guard instructions.count < Self.maxInstructions else { throw failure("a pattern that is too large") }
        instructions.append(instruction)
    }

    private mutating func index(_ set: ScalarSet) -> Int {
        sets.append(set)
        return sets.count &- 1
    }

    private mutating func emit(_ node: Node) throws(DiffError) {
        emitted &+= 1
        guard emitted <= Self.maxEmitted else { throw failure("a pattern that is too large") }
        switch node {
        case .set(let set): try append(.set(index(set)))
        case .sequence(let nodes): for node in nodes.each { try emit(node) }
        case .start: try append(.start)
        case .end: try append(.end)
        case .look(let body, let isNegative):
            try enclosed(body) { .look(end: $0, isNegative: isNegative) }
        case .atomic(let body): try enclosed(body) { .atomic(end: $0) }
        case .either(let branches): try emit(branches)
        case .loop(.set(let set), let least, let most, let mode) where mode != .lazy:
            try append(.run(index(set), least: least, most: most ?? .max, isPossessive: mode == .possessive))
        case .loop(let body, let least, let most, .possessive):
            try enclosed(.loop(body, least: least, most: most, .greedy)) { .atomic(end: $0) }
        case .loop(let body, let least, let most, let mode):
            for _ in Indices(below: least) { try emit(body) }
            guard let most else { return try star(body, mode) }
            var jumps: [Int] = []
            for _ in Indices(below: most &- least) {
                jumps.append(instructions.count)
                try append(.match)
                try emit(body)
            }
            for jump in jumps.each {
                instructions.put(.split(jump &+ 1, instructions.count, prefersSecond: mode == .lazy), at: jump)
            }
        }
    }

    /// `body` ended by its own match, behind an instruction that knows where that is.
    private mutating func enclosed(
        _ body: Node, _ head: (Int) -> PatternInstruction
    ) throws(DiffError) {
        let start = instructions.count
        try append(.match)
        try emit(body)
        try append(.match)
        instructions.put(head(instructions.count), at: start)
    }

    private mutating func star(_ body: Node, _ mode: Mode) throws(DiffError) {
        let start = instructions.count
        try append(.match)
        try emit(body)
        try append(.jump(start, mustAdvance: true))
        instructions.put(.split(start &+ 1, instructions.count, prefersSecond: mode == .lazy), at: start)
    }

    private mutating func emit(_ branches: [Node]) throws(DiffError) {
        var ends: [Int] = []
        for (position, branch) in branches.numbered {
            guard position < branches.count &- 1 else {
                try emit(branch)
                break
            }
            let start = instructions.count
            try append(.match)
            try emit(branch)
            ends.append(instructions.count)
            try append(.match)
            instructions.put(.split(start &+ 1, instructions.count, prefersSecond: false), at: start)
        }
        for end in ends.each {
            instructions.put(.jump(instructions.count, mustAdvance: false), at: end)
        }
    }
}
