import DiffTensor

/// One step of a pattern's machine.
enum PatternInstruction: Sendable {
    /// One scalar of a set.
    case set(Int)
    /// `least` to `most` scalars of a set, as many as possible; without giving any back when possessive.
    case run(Int, least: Int, most: Int, isPossessive: Bool)
    /// Goes on at the first place, or at the second when that fails; the other way round when `prefersSecond`.
    case split(Int, Int, prefersSecond: Bool)
    case jump(Int, mustAdvance: Bool)
    /// What stands between here and `end` must match here (or must not), and is not consumed.
    case look(end: Int, isNegative: Bool)
    /// What stands between here and `end` matches in its first way or not at all.
    case atomic(end: Int)
    case start, end
    case match
}

/// A pattern as a backtracking machine with a stack of its own and a bound on its work: no text and no pattern out of a file can
/// exhaust the thread's stack or keep it busy for ever.
struct PatternProgram: Sendable {
    let instructions: [PatternInstruction]
    let sets: [ScalarSet]

    /// All matches of a pattern in `text` that do not overlap, from left to right; empty ones are left out.
    func matches(in text: [UInt32]) throws(DiffError) -> [Range<Int>] {
        var found: [Range<Int>] = []
        var work = Work(left: 10_000 &+ 2000 &* text.count)
        var position = 0
        while position < text.count {
            if let end = try match(from: 0, at: position, in: text, &work, depth: 0), end > position {
                found.append(position..<end)
                position = end
            } else {
                position &+= 1
            }
        }
        return found
    }

    /// Steps that may still be made: real patterns need a few dozen per character.
    private struct Work { var left: Int }

    /// Another way to go on: at `pc` from `position`, and from every position before it down to `least`.
    private struct Choice {
        let pc: Int
        var position: Int
        let least: Int
    }

    /// Where a match that begins at `start` ends; nil when there is none.
    private func match(
        from first: Int, at start: Int, in text: [UInt32], _ work: inout Work, depth: Int
    ) throws(DiffError) -> Int? {
        guard depth < 40 else { throw DiffError(.unsupported, "pattern: too many nested groups") }
        var stack: [Choice] = []
        var (pc, position) = (first, start)
        while true {
            work.left &-= 1
            guard work.left > 0, stack.count < 1 << 22 else {
                throw DiffError(.unsupported, "pattern: matching a text of \(text.count) characters takes too long")
            }
            var failed = false
            switch instructions.at(pc) {
            case .set(let index):
                if let scalar = text.at(position), sets.at(index)?.contains(scalar) ?? false {
                    (pc, position) = (pc &+ 1, position &+ 1)
                } else {
                    failed = true
                }
            case .run(let index, let least, let most, let isPossessive):
                guard let set = sets.at(index) else { return nil }
                var end = position
                while end &- position < most, let scalar = text.at(end), set.contains(scalar) { end &+= 1 }
                work.left &-= end &- position
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
            case .jump(let target, let mustAdvance):
                // A turn that consumed nothing would go on for ever; the bound on the work ends what slips through.
                if mustAdvance, work.left < 0 { return nil }
                pc = target
            case .look(let end, let isNegative):
                let found = try match(from: pc &+ 1, at: position, in: text, &work, depth: depth &+ 1) != nil
                if found != isNegative { pc = end } else { failed = true }
            case .atomic(let end):
                if let stop = try match(from: pc &+ 1, at: position, in: text, &work, depth: depth &+ 1) {
                    (pc, position) = (end, stop)
                } else {
                    failed = true
                }
            case .start: if position == 0 { pc &+= 1 } else { failed = true }
            case .end: if position == text.count { pc &+= 1 } else { failed = true }
            case .match: return position
            case nil: return nil
            }
            guard failed else { continue }
            guard var choice = stack.popLast() else { return nil }
            (pc, position) = (choice.pc, choice.position)
            if choice.position > choice.least {
                choice.position &-= 1
                stack.append(choice)
            }
        }
    }
}
