import DiffTensor

/// Sets of characters: classes, escapes, properties, codes.
extension PatternParser {
    /// What stands between brackets, after the first of them.
    mutating func characterClass(_ foldsCase: Bool) throws(DiffError) -> ScalarSet {
        let isNegated = take("^")
        var parts: [ScalarSet.Part] = []
        var isFirst = true
        while !peek("]") || isFirst {
            isFirst = false
            guard position < text.count else { throw failure("a missing ]") }
            if peek("[") || (peek("&") && peek("&", at: 1)) {
                throw failure("a class inside a class", .unsupported)
            }
            let part = try classItem()
            if peek("-"), !peek("]", at: 1), case .range(let low, _) = part {
                position &+= 1
                guard case .range(let high, _) = try classItem(), low <= high else { throw failure("a bad range") }
                parts.append(.range(low, high))
            } else {
                parts.append(part)
            }
        }
        position &+= 1
        return ScalarSet(parts, isNegated: isNegated, foldsCase: foldsCase)
    }

    private mutating func classItem() throws(DiffError) -> ScalarSet.Part {
        if take("\\") { return try escape() }
        guard let scalar = text.at(position) else { throw failure("a missing ]") }
        position &+= 1
        return .range(scalar, scalar)
    }

    /// What stands behind a backslash.
    mutating func escape() throws(DiffError) -> ScalarSet.Part {
        guard let value = text.at(position), let scalar = Unicode.Scalar(value) else {
            throw failure("a backslash at the end")
        }
        position &+= 1
        switch scalar {
        case "n": return .range(10, 10)
        case "r": return .range(13, 13)
        case "t": return .range(9, 9)
        case "f": return .range(12, 12)
        case "v": return .range(11, 11)
        case "s": return .whitespace
        case "S": return .not(ScalarSet([.whitespace]))
        case "d": return .categories(ScalarSet.names["Nd"] ?? 0)
        case "D": return .not(ScalarSet([.categories(ScalarSet.names["Nd"] ?? 0)]))
        case "w": return .word
        case "W": return .not(ScalarSet([.word]))
        case "p", "P": return try property(isNegated: scalar == "P")
        case "x", "u": return try code(scalar == "x" ? 2 : 4)
        default:
            guard !scalar.properties.isAlphabetic, scalar.properties.numericType == nil else {
                throw failure("the escape \\\(scalar)", .unsupported)
            }
            return .range(value, value)
        }
    }

    private mutating func property(isNegated: Bool) throws(DiffError) -> ScalarSet.Part {
        var name = ""
        if take("{") {
            while let value = text.at(position), let scalar = Unicode.Scalar(value), scalar != "}", name.count < 32 {
                name.unicodeScalars.append(scalar)
                position &+= 1
            }
            guard take("}") else { throw failure("a missing }") }
        } else if let value = text.at(position), let scalar = Unicode.Scalar(value) {
            name.unicodeScalars.append(scalar)
            position &+= 1
        }
        let complement = name.hasPrefix("^")
        guard let bits = ScalarSet.names[complement ? String(name.dropFirst()) : name] else {
            throw failure("the property \(name)", .unsupported)
        }
        let part = ScalarSet.Part.categories(bits)
        return isNegated != complement ? .not(ScalarSet([part])) : part
    }

    private mutating func code(_ digits: Int) throws(DiffError) -> ScalarSet.Part {
        let isBraced = take("{")
        var (value, count): (UInt32, Int) = (0, 0)
        while let digit = text.at(position).flatMap({ Unicode.Scalar($0) }).flatMap({ Character($0).hexDigitValue }),
            count < (isBraced ? 6 : digits)
        {
            value = value << 4 | UInt32(truncatingIfNeeded: digit)
            (position, count) = (position &+ 1, count &+ 1)
        }
        guard count > 0, Unicode.Scalar(value) != nil, !isBraced || take("}") else { throw failure("a bad code") }
        return .range(value, value)
    }
}
