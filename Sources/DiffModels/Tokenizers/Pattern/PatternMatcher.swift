import DiffTensor

/// What matching may still cost: real patterns need a few dozen steps per character.
struct PatternWork {
    private var left: Int
    private let size: Int
    private let cancel: CancelFlag?

    /// Steps between two looks at the flag.
    private static let patience = 1 << 14

    /// For a text of `size` characters.
    init(_ size: Int, _ cancel: CancelFlag?) {
        (self.size, self.cancel) = (size, cancel)
        left = 1_000_000 &+ 500 &* size
    }

    /// Throws `unsupported` when nothing is left, `cancelled`.
    mutating func spend(_ steps: Int) throws(DiffError) {
        let before = left
        left &-= steps
        guard left > 0 else { throw tooLong }
        if before / Self.patience != left / Self.patience { try cancel?.check() }
    }

    var tooLong: DiffError {
        DiffError(.unsupported, "pattern: matching a text of \(size) characters takes too long")
    }
}

/// A backtracking machine with a stack of its own and a bound on its work: no text and no pattern out of a file can exhaust the thread's
/// stack or keep it busy forever.
struct PatternMatcher {
    private let program: PatternProgram
    private let text: [UInt32]
    /// Where the text begins and ends in `text`.
    private let first: Int, last: Int
    /// Where the turns of loops began.
    private var turns: [Int]

    private static let maxChoices = 1 << 22, maxDepth = 40

    init(_ program: PatternProgram, _ text: [UInt32], _ range: Range<Int>) {
        (self.program, self.text) = (program, text)
        (first, last) = (range.lowerBound, range.upperBound)
        turns = Array(repeating: -1, count: max(0, program.slots))
    }

    /// Another way to go on: at `pc` from `position`, and from every position before it down to `least`; or, when `pc` is negative,
    /// what a loop remembered before.
    private struct Choice {
        let pc: Int
        var position: Int
        let least: Int
    }

    private func scalar(_ position: Int) -> UInt32? {
        position < last && position >= first ? text.at(position) : nil
    }

    /// Where the match that begins at `start` ends; nil when there is none.
    mutating func end(from start: Int, _ work: inout PatternWork) throws(DiffError) -> Int? {
        try match(0, start, target: nil, depth: 0, &work)
    }

    /// Runs from `pc` at `position` to the next `match`; with a `target` only one that ends there counts.
    private mutating func match(
        _ pc: Int, _ position: Int, target: Int?, depth: Int, _ work: inout PatternWork
    ) throws(DiffError) -> Int? {
        guard depth < Self.maxDepth else { throw DiffError(.unsupported, "pattern: too many nested groups") }
        var (pc, position) = (pc, position)
        var stack: [Choice] = []
        while true {
            try work.spend(1)
            guard stack.count < Self.maxChoices else { throw work.tooLong }
            var failed = false
            switch program.instructions.at(pc) {
            case .set(let index):
                if let scalar = scalar(position), program.sets.at(index)?.contains(scalar) ?? false {
                    (pc, position) = (pc &+ 1, position &+ 1)
                } else {
                    failed = true
                }
            case .run(let index, let least, let most, let isPossessive):
                let end = runEnd(index, position, most)
                try work.spend(end &- position)
                if end &- position < least {
                    failed = true
                } else {
                    if !isPossessive, end &- position > least {
                        stack.append(Choice(pc: pc &+ 1, position: end &- 1, least: position &+ least))
                    }
                    (pc, position) = (pc &+ 1, end)
                }
            case .split(let a, let b, let prefersSecond):
                stack.append(Choice(pc: prefersSecond ? a : b, position: position, least: position))
                pc = prefersSecond ? b : a
            case .jump(let target): pc = target
            case .mark(let slot):
                stack.append(Choice(pc: ~slot, position: turns.at(slot) ?? -1, least: 0))
                turns.put(position, at: slot)
                pc &+= 1
            case .advance(let start, let slot): pc = turns.at(slot) == position ? pc &+ 1 : start
            case .look(let end, let isNegative):
                let found = try match(pc &+ 1, position, target: nil, depth: depth &+ 1, &work) != nil
                if found != isNegative { pc = end } else { failed = true }
            case .behind(let end, let least, let most, let isNegative):
                let found = try isBehind(pc &+ 1, position, least, most, depth, &work)
                if found != isNegative { pc = end } else { failed = true }
            case .atomic(let end):
                if let stop = try match(pc &+ 1, position, target: nil, depth: depth &+ 1, &work) {
                    (pc, position) = (end, stop)
                } else {
                    failed = true
                }
            case .anchor(let anchor): if holds(anchor, position) { pc &+= 1 } else { failed = true }
            case .match:
                if target == nil || target == position { return position }
                failed = true
            case nil: return nil
            }
            guard failed else { continue }
            guard let choice = goBack(&stack) else { return nil }
            (pc, position) = choice
        }
    }

    /// The latest way that was not tried; what loops remembered since is forgotten.
    private mutating func goBack(_ stack: inout [Choice]) -> (Int, Int)? {
        while var choice = stack.popLast() {
            if choice.pc < 0 {
                turns.put(choice.position, at: ~choice.pc)
                continue
            }
            let next = (choice.pc, choice.position)
            if choice.position > choice.least {
                choice.position &-= 1
                stack.append(choice)
            }
            return next
        }
        return nil
    }

    private func runEnd(_ index: Int, _ start: Int, _ most: Int) -> Int {
        guard let set = program.sets.at(index) else { return start }
        let limit = most < last &- start ? start &+ most : last
        var end = start
        while end < limit, let scalar = text.at(end), set.contains(scalar) { end &+= 1 }
        return end
    }

    private mutating func isBehind(
        _ pc: Int, _ position: Int, _ least: Int, _ most: Int, _ depth: Int, _ work: inout PatternWork
    ) throws(DiffError) -> Bool {
        var start = position &- least
        let lowest = most < position &- first ? position &- most : first
        while start >= lowest {
            if try match(pc, start, target: position, depth: depth &+ 1, &work) != nil { return true }
            start &-= 1
        }
        return false
    }

    private func holds(_ anchor: PatternNode.Anchor, _ position: Int) -> Bool {
        switch anchor {
        case .textStart: position == first
        case .textEnd: position == last
        case .textEndOrNewline: position == last || position == last &- 1 && scalar(position) == 10
        // A line feed at the very end begins no line.
        case .lineStart: position == first || scalar(position &- 1) == 10 && position < last
        case .lineEnd: position == last || scalar(position) == 10
        case .wordBoundary: isWord(position &- 1) != isWord(position)
        case .noWordBoundary: isWord(position &- 1) == isWord(position)
        }
    }

    private func isWord(_ position: Int) -> Bool {
        scalar(position).map { ScalarSet.wordOutsideClass.contains($0) } ?? false
    }
}
