import DiffTensor

/// What stands between brackets.
extension PatternParser {
    /// A class, after its opening bracket. Case is folded once, for the outermost.
    mutating func characterClass(_ foldsCase: Bool, depth: Int = 0) throws(DiffError) -> ScalarSet {
        guard depth < 16 else { throw failure("too many nested classes") }
        let isNegated = take("^")
        // What stood before each `&&`, and what stands behind the last.
        var (sides, parts): ([ScalarSet], [ScalarSet.Part]) = ([], [])
        var (isFirst, isBehindSet) = (true, false)
        while isFirst || !peek("]") {
            guard position < text.count else { throw failure("a missing ]") }
            if isFirst, peek("]") {
                guard hasBracket(behind: position) else { throw failure("an empty class") }
            }
            isFirst = false
            if take("&&") {
                sides.append(ScalarSet(parts))
                (parts, isBehindSet) = ([], false)
            } else if let set = try posixBracket() {
                parts.append(set)
                isBehindSet = true
            } else if take("[") {
                parts.append(.set(try characterClass(false, depth: depth &+ 1)))
                isBehindSet = false
            } else if isBehindSet, beginsRange {
                throw failure("a range that begins with a set")
            } else {
                let part = try classItem()
                parts.append(try ranged(part))
                if case .range = part { isBehindSet = false } else { isBehindSet = true }
            }
        }
        position &+= 1
        guard !sides.isEmpty else { return ScalarSet(parts, isNegated: isNegated, foldsCase: foldsCase) }
        return ScalarSet([.all(sides + [ScalarSet(parts)])], isNegated: isNegated, foldsCase: foldsCase)
    }

    /// Whether a bracket that closes stands behind `index`: the first one may be a character.
    private func hasBracket(behind index: Int) -> Bool {
        var index = index &+ 1
        while let scalar = text.at(index) {
            if scalar == 0x5d { return true }
            index &+= scalar == 0x5c ? 2 : 1
        }
        return false
    }

    /// Whether a minus stands here that is none of the class's characters.
    private var beginsRange: Bool {
        peek("-") && position &+ 1 < text.count && !peek("]", at: 1) && !(peek("&", at: 1) && peek("&", at: 2))
    }

    /// `part`, or the range that it begins.
    private mutating func ranged(_ part: ScalarSet.Part) throws(DiffError) -> ScalarSet.Part {
        guard case .range(let low, let same) = part, low == same, beginsRange else { return part }
        position &+= 1
        guard !peek("["), case .range(let high, let last) = try classItem(), high == last else {
            throw failure("a range that ends with a set")
        }
        guard low <= high else { throw failure("an empty range") }
        return .range(low, high)
    }

    private mutating func classItem() throws(DiffError) -> ScalarSet.Part {
        if peek("\\") {
            position &+= 1
            if take("b") { return .range(8, 8) }
            return try escape(inClass: true)
        }
        guard let scalar = text.at(position) else { throw failure("a missing ]") }
        position &+= 1
        return .range(scalar, scalar)
    }

    /// `[:alpha:]` and its like; nil when there is none here.
    private mutating func posixBracket() throws(DiffError) -> ScalarSet.Part? {
        guard peek("["), peek(":", at: 1) else { return nil }
        var (name, end) = ("", position &+ 2)
        let isNegated = text.at(end) == 0x5e
        if isNegated { end &+= 1 }
        while let value = text.at(end), let scalar = Unicode.Scalar(value), scalar.properties.isAlphabetic {
            name.unicodeScalars.append(scalar)
            end &+= 1
        }
        guard text.at(end) == 0x3a, text.at(end &+ 1) == 0x5d, !name.isEmpty else { return nil }
        guard let set = ScalarSet.posix[name] else { throw failure("the bracket [:\(name):]") }
        position = end &+ 2
        return isNegated ? .not(set) : .set(set)
    }
}
