import DiffTensor

/// A set of Unicode scalars as a pattern writes it: ranges, properties, other sets, what several have in common, and its complement.
struct ScalarSet: Sendable {
    /// The parts of a class.
    enum Part: Sendable {
        case range(UInt32, UInt32)
        /// General categories, as bits of ``GeneralCategories``.
        case categories(UInt32)
        case whitespace, word, alphabetic, lowercase, uppercase
        indirect case set(ScalarSet)
        /// What is not in the set.
        indirect case not(ScalarSet)
        /// What is in every one.
        case all([ScalarSet])
    }

    let parts: [Part]
    let isNegated: Bool
    /// Whether upper and lower case are one.
    let foldsCase: Bool
    /// Members below 128, decided once.
    private var ascii: (UInt64, UInt64) = (0, 0)

    init(_ parts: [Part], isNegated: Bool = false, foldsCase: Bool = false) {
        (self.parts, self.isNegated, self.foldsCase) = (parts, isNegated, foldsCase)
        for value in UInt32(0)..<128 where decides(value) {
            if value < 64 { ascii.0 |= 1 << UInt64(value) } else { ascii.1 |= 1 << UInt64(value &- 64) }
        }
    }

    func contains(_ scalar: UInt32) -> Bool {
        if scalar < 64 { return ascii.0 >> UInt64(scalar) & 1 == 1 }
        if scalar < 128 { return ascii.1 >> UInt64(scalar &- 64) & 1 == 1 }
        return decides(scalar)
    }

    private func decides(_ scalar: UInt32) -> Bool {
        var found = includes(scalar)
        if !found, foldsCase, let others = CaseFolding.others[scalar] {
            found = others.each.contains { includes($0) }
        }
        return found != isNegated
    }

    private func includes(_ scalar: UInt32) -> Bool {
        for part in parts.each {
            let isIn =
                switch part {
                case .range(let low, let high): low <= scalar && scalar <= high
                case .categories(let bits): bits & GeneralCategories.bit(scalar) != 0
                case .whitespace: Unicode.Scalar(scalar)?.properties.isWhitespace ?? false
                case .word: Self.isWord(scalar)
                case .alphabetic: Self.has(scalar) { $0.isAlphabetic }
                case .lowercase: Self.has(scalar) { $0.isLowercase } || scalar == GeneralCategories.lowercaseOnce
                case .uppercase: Self.has(scalar) { $0.isUppercase }
                case .set(let set): set.contains(scalar)
                case .not(let set): !set.contains(scalar)
                case .all(let sets): sets.each.allSatisfy { $0.contains(scalar) }
                }
            if isIn { return true }
        }
        return false
    }

    /// Letters (numerals that are letters too), marks, digits and connectors.
    private static func isWord(_ scalar: UInt32) -> Bool {
        typealias Bits = GeneralCategories
        return Bits.bit(scalar) & (Bits.letters | Bits.marks | Bits.digits | Bits.connectors) != 0
            || has(scalar) { $0.isAlphabetic }
    }

    private static func has(_ scalar: UInt32, _ property: (Unicode.Scalar.Properties) -> Bool) -> Bool {
        guard let properties = Unicode.Scalar(scalar)?.properties else { return false }
        return property(properties) && GeneralCategories.isKnown(properties)
    }
}

// MARK: Sets with names

extension ScalarSet {
    static let all = ScalarSet([], isNegated: true)
    static let noLineFeed = ScalarSet([.range(10, 10)], isNegated: true)
    static let whitespace = ScalarSet([.whitespace])
    static let word = ScalarSet([.word])
    /// What `\w` means outside of a class: the superscripts and fractions of Latin-1 too, which Oniguruma has in a table of its own.
    static let wordOutsideClass = ScalarSet([.word, .range(0xb2, 0xb3), .range(0xb9, 0xb9), .range(0xbc, 0xbe)])
    static let hexDigits = ScalarSet([.range(48, 57), .range(65, 70), .range(97, 102)])

    /// By the names that stand between colons, which are properties too.
    static let posix: [String: ScalarSet] = {
        typealias Bits = GeneralCategories
        let control = ScalarSet([.categories(Bits.control)])
        let graph = ScalarSet(
            [.whitespace, .set(control), .categories(Bits.unassigned | Bits.surrogate)], isNegated: true)
        return [
            "alnum": ScalarSet([.alphabetic, .categories(Bits.digits)]), "alpha": ScalarSet([.alphabetic]),
            "ascii": ScalarSet([.range(0, 127)]), "blank": ScalarSet([.categories(Bits.spaces), .range(9, 9)]),
            "cntrl": control, "digit": ScalarSet([.categories(Bits.digits)]), "graph": graph,
            "lower": ScalarSet([.lowercase]), "print": ScalarSet([.set(graph), .categories(Bits.spaces)]),
            "punct": ScalarSet([.categories(Bits.punctuation | Bits.symbols)]), "space": whitespace,
            "upper": ScalarSet([.uppercase]), "xdigit": hexDigits, "word": word,
        ]
    }()

    /// The set of a property; nil when there is none of the name here. Case, blanks, hyphens and underscores do not count.
    static func property(_ name: String, inClass: Bool) -> ScalarSet? {
        var plain = ""
        for scalar in name.unicodeScalars {
            guard scalar.isASCII else { return nil }
            if scalar != " ", scalar != "-", scalar != "_" { plain.append(Character(scalar)) }
        }
        plain = plain.lowercased()
        if let bits = GeneralCategories.names[plain] { return ScalarSet([.categories(bits)]) }
        switch plain {
        case "alphabetic": return ScalarSet([.alphabetic])
        case "lowercase": return ScalarSet([.lowercase])
        case "uppercase": return ScalarSet([.uppercase])
        case "whitespace": return whitespace
        case "word": return inClass ? word : wordOutsideClass
        default: return posix[plain]
        }
    }
}
