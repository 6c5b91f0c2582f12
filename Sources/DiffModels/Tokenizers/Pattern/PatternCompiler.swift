import DiffTensor

/// Turns a pattern's parts into instructions.
struct PatternCompiler {
    private var emitted = 0, slots = 0
    private var instructions: [PatternInstruction] = []
    private var sets: [ScalarSet] = []
    /// Whether what follows stands in a look-behind, where a character is never several.
    private var isBehind = false

    /// Bounds on a pattern out of a file: instructions, and nodes turned into them, since empty ones make none, however often they
    /// are repeated.
    private static let maxInstructions = 20_000, maxEmitted = 1_000_000

    static func program(_ node: PatternNode) throws(DiffError) -> PatternProgram {
        var compiler = PatternCompiler()
        try compiler.emit(node)
        try compiler.append(.match)
        return PatternProgram(instructions: compiler.instructions, sets: compiler.sets, slots: compiler.slots)
    }

    private mutating func append(_ instruction: PatternInstruction) throws(DiffError) {
        guard instructions.count < Self.maxInstructions else { throw Self.tooLarge }
        instructions.append(instruction)
    }

    private static let tooLarge = DiffError(.unsupported, "pattern: more than \(maxInstructions) instructions")

    private mutating func index(_ set: ScalarSet) -> Int {
        sets.append(set)
        return sets.count &- 1
    }

    private mutating func emit(_ node: PatternNode) throws(DiffError) {
        emitted &+= 1
        guard emitted <= Self.maxEmitted else { throw Self.tooLarge }
        switch node {
        case .set(let set): try append(.set(index(set)))
        case .folded(let scalars): try emit(folded: scalars)
        case .sequence(let nodes): for node in nodes.each { try emit(node) }
        case .group(let body, _): try emit(body)
        case .anchor(let anchor): try append(.anchor(anchor))
        case .look(let body, let isNegative): try enclosed(body) { .look(end: $0, isNegative: isNegative) }
        case .behind(let body, let isNegative):
            let (width, outer) = (body.width, isBehind)
            isBehind = true
            defer { isBehind = outer }
            try enclosed(.sequence([body])) {
                .behind(end: $0, least: width.least, most: width.most ?? .max, isNegative: isNegative)
            }
        case .atomic(let body): try enclosed(body) { .atomic(end: $0) }
        case .either(let branches): try emit(branches)
        case .loop(let body, let least, let most, let mode): try emit(loop: body, least, most, mode)
        }
    }

    // MARK: Repetition

    private mutating func emit(
        loop body: PatternNode, _ least: Int, _ most: Int?, _ mode: PatternNode.Mode
    ) throws(DiffError) {
        if case .set(let set) = Self.only(body), mode != .lazy {
            return try append(.run(index(set), least: least, most: most ?? .max, isPossessive: mode == .possessive))
        }
        if mode == .possessive {
            return try enclosed(.loop(body, least: least, most: most, .greedy)) { .atomic(end: $0) }
        }
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

    /// What a group without any effect stands around.
    private static func only(_ node: PatternNode) -> PatternNode {
        switch node {
        case .sequence(let nodes) where nodes.count == 1: only(nodes[0])
        case .group(let body, _): only(body)
        case .folded(let scalars) where scalars.count == 1 && CaseFolding.long[scalars[0]] == nil:
            .set(ScalarSet([.range(scalars[0], scalars[0])], foldsCase: true))
        default: node
        }
    }

    /// Any number of times. A turn that consumes nothing is the last one.
    private mutating func star(_ body: PatternNode, _ mode: PatternNode.Mode) throws(DiffError) {
        let start = instructions.count
        try append(.match)
        if body.width.least == 0 {
            let slot = slots
            slots &+= 1
            try append(.mark(slot))
            try emit(body)
            try append(.advance(start, slot: slot))
        } else {
            try emit(body)
            try append(.jump(start))
        }
        instructions.put(.split(start &+ 1, instructions.count, prefersSecond: mode == .lazy), at: start)
    }

    // MARK: Groups

    /// `body` ended by its own match, behind an instruction that knows where that is.
    private mutating func enclosed(
        _ body: PatternNode, _ head: (Int) -> PatternInstruction
    ) throws(DiffError) {
        let start = instructions.count
        try append(.match)
        try emit(body)
        try append(.match)
        instructions.put(head(instructions.count), at: start)
    }

    private mutating func emit(_ branches: [PatternNode]) throws(DiffError) {
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
        for end in ends.each { instructions.put(.jump(instructions.count), at: end) }
    }

    // MARK: Letters without case

    /// Letters in a row: each by itself in any case, several as the one that folds to them, one as the several that it folds to.
    private mutating func emit(folded scalars: [UInt32]) throws(DiffError) {
        var starts: [Int] = []
        /// Jumps to the position behind this many letters.
        var jumps: [(at: Int, letters: Int)] = []
        for (position, scalar) in scalars.numbered {
            starts.append(instructions.count)
            var ways: [(sets: [ScalarSet], letters: Int)] = []
            if !isBehind {
                for count in [2, 3] where position &+ count <= scalars.count {
                    let folded = scalars[position..<(position &+ count)].map { CaseFolding.simple($0) }
                    if let joined = CaseFolding.joined[folded] {
                        ways.append(([ScalarSet(joined.map { .range($0, $0) })], count))
                    }
                }
                if let long = CaseFolding.long[scalar] {
                    ways.append((long.map { ScalarSet([.range($0, $0)], foldsCase: true) }, 1))
                    if let joined = CaseFolding.joined[long] {
                        ways.append(([ScalarSet(joined.map { .range($0, $0) })], 1))
                    }
                }
            }
            for way in ways.each {
                let split = instructions.count
                try append(.match)
                for set in way.sets.each { try append(.set(index(set))) }
                jumps.append((instructions.count, position &+ way.letters))
                try append(.match)
                instructions.put(.split(split &+ 1, instructions.count, prefersSecond: false), at: split)
            }
            try append(.set(index(ScalarSet([.range(scalar, scalar)], foldsCase: true))))
        }
        starts.append(instructions.count)
        for jump in jumps.each { instructions.put(.jump(starts.at(jump.letters) ?? 0), at: jump.at) }
    }
}
