import DiffTensor

/// What follows a backslash.
extension PatternParser {
    /// Outside of a class.
    mutating func escaped(_ options: Options) throws(DiffError) -> PatternNode {
        guard let value = text.at(position), let scalar = Unicode.Scalar(value) else {
            throw failure("a backslash at the end")
        }
        switch scalar {
        case "A": return anchor(.textStart)
        case "z": return anchor(.textEnd)
        case "Z": return anchor(.textEndOrNewline)
        case "b": return anchor(.wordBoundary)
        case "B": return anchor(.noWordBoundary)
        case "R":
            position &+= 1
            lineBreaks &+= 1
            let ends = ScalarSet([.range(10, 13), .range(0x85, 0x85), .range(0x2028, 0x2029)])
            let pair = PatternNode.sequence([13, 10].map { .set(ScalarSet([.range($0, $0)])) })
            return .atomic(.either([pair, .set(ends)]))
        case "N":
            position &+= 1
            return .set(ScalarSet.noLineFeed)
        case "O":
            position &+= 1
            return .set(ScalarSet.all)
        case "X", "y", "Y": throw refusal("\\\(scalar) (text segments)")
        case "K", "G": throw refusal("\\\(scalar)")
        case "k", "g":
            if peek("<", at: 1) || peek("'", at: 1) { throw refusal("a back reference or a call of a group") }
        case "1"..."9":
            // Octal when it can be, and a reference when there is such a group; no published pattern has either.
            throw refusal("\\\(scalar) (a back reference or an octal number; write \\x{...})")
        default: break
        }
        switch try escape(inClass: false) {
        case .range(let low, let high) where low == high: return literal(low, options)
        case let part: return .set(ScalarSet([part]))
        }
    }

    private mutating func anchor(_ anchor: PatternNode.Anchor) -> PatternNode {
        position &+= 1
        return .anchor(anchor)
    }

    /// A character or a set of them, in a class or outside.
    mutating func escape(inClass: Bool) throws(DiffError) -> ScalarSet.Part {
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
        case "a": return .range(7, 7)
        case "e": return .range(27, 27)
        case "s": return .whitespace
        case "S": return .not(.whitespace)
        case "d": return .categories(GeneralCategories.digits)
        case "D": return .not(ScalarSet([.categories(GeneralCategories.digits)]))
        case "w": return .set(inClass ? .word : .wordOutsideClass)
        case "W": return .not(inClass ? .word : .wordOutsideClass)
        case "h": return .set(.hexDigits)
        case "H": return .not(.hexDigits)
        case "p" where peek("{"): return try property(isNegated: false, inClass)
        case "P" where peek("{"): return try property(isNegated: true, inClass)
        case "x": return try hexadecimal()
        case "u": return try code(digits: 4...4)
        case "o" where peek("{"): throw refusal("\\o{...}; write \\x{...}")
        case "c", "C", "M": throw refusal("\\\(scalar) (control and meta characters); write \\x{...}")
        case "0"..."9": throw refusal("an octal number; write \\x{...}")
        default: return .range(value, value)
        }
    }

    private mutating func property(isNegated: Bool, _ inClass: Bool) throws(DiffError) -> ScalarSet.Part {
        position &+= 1
        let isComplement = take("^")
        var name = ""
        while let value = text.at(position), let scalar = Unicode.Scalar(value), scalar != "}", name.utf8.count < 64 {
            name.unicodeScalars.append(scalar)
            position &+= 1
        }
        guard take("}") else { throw failure("a property without }") }
        guard let set = ScalarSet.property(name, inClass: inClass) else { throw refusal("the property \(name)") }
        return isNegated != isComplement ? .not(set) : .set(set)
    }

    /// `\xHH` below 80, which is a byte elsewhere, and `\x{H...}`.
    private mutating func hexadecimal() throws(DiffError) -> ScalarSet.Part {
        guard take("{") else {
            let part = try code(digits: 0...2)
            guard case .range(let value, _) = part, value < 0x80 else {
                throw failure("\\x for a byte of a longer character; write \\x{...}")
            }
            return part
        }
        let part = try code(digits: 1...8)
        guard take("}") else { throw refusal("several codes in \\x{...}") }
        return part
    }

    private mutating func code(digits: ClosedRange<Int>) throws(DiffError) -> ScalarSet.Part {
        var (value, count): (UInt32, Int) = (0, 0)
        while count < digits.upperBound, let next = text.at(position), let digit = Self.digit(next) {
            value = value << 4 | digit
            (position, count) = (position &+ 1, count &+ 1)
        }
        guard count >= digits.lowerBound, Unicode.Scalar(value) != nil else { throw failure("a bad code") }
        return .range(value, value)
    }

    private static func digit(_ scalar: UInt32) -> UInt32? {
        switch scalar {
        case 48...57: scalar &- 48
        case 65...70: scalar &- 55
        case 97...102: scalar &- 87
        default: nil
        }
    }
}
