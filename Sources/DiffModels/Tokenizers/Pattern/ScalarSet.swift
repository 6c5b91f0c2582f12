import DiffTensor

/// A set of Unicode scalars as a pattern writes it: ranges, properties, and their complement.
struct ScalarSet: Sendable {
    /// The parts of a class.
    enum Part: Sendable {
        case range(UInt32, UInt32)
        /// General categories, as bits of ``category(_:)``.
        case categories(UInt32)
        case whitespace, word
        /// What is not in the set.
        indirect case not(ScalarSet)
    }

    var parts: [Part] = []
    var isNegated = false
    /// Whether upper and lower case are one.
    var foldsCase = false
    /// Members below 128, decided once.
    private var ascii: (UInt64, UInt64) = (0, 0)

    init(_ parts: [Part], isNegated: Bool = false, foldsCase: Bool = false) {
        (self.parts, self.isNegated, self.foldsCase) = (parts, isNegated, foldsCase)
        for value in UInt32(0)..<128 where decides(value) {
            if value < 64 { ascii.0 |= 1 << UInt64(value) } else { ascii.1 |= 1 << UInt64(value &- 64) }
        }
    }

    /// Exactly this scalar.
    init(_ scalar: UInt32, foldsCase: Bool) { self.init([.range(scalar, scalar)], foldsCase: foldsCase) }

    func contains(_ scalar: UInt32) -> Bool {
        if scalar < 64 { return ascii.0 >> UInt64(scalar) & 1 == 1 }
        if scalar < 128 { return ascii.1 >> UInt64(scalar &- 64) & 1 == 1 }
        return decides(scalar)
    }

    private func decides(_ scalar: UInt32) -> Bool {
        var found = includes(scalar)
        if !found, foldsCase {
            found = Self.variants(scalar).each.contains { $0 != scalar && includes($0) }
        }
        return found != isNegated
    }

    private func includes(_ scalar: UInt32) -> Bool {
        for part in parts.each {
            let isIn =
                switch part {
                case .range(let low, let high): low <= scalar && scalar <= high
                case .categories(let bits): bits & Self.category(scalar) != 0
                case .whitespace: Unicode.Scalar(scalar)?.properties.isWhitespace ?? false
                case .word: Self.isWord(scalar)
                case .not(let set): !set.contains(scalar)
                }
            if isIn { return true }
        }
        return false
    }

    /// What `\w` means: letters (numerals that are letters too), marks, digits, connectors, and the two joiners.
    private static func isWord(_ scalar: UInt32) -> Bool {
        let bits = category(scalar)
        return bits & (letters | marks | digits | connectors) != 0 || scalar == 0x200c || scalar == 0x200d
            || Unicode.Scalar(scalar)?.properties.isAlphabetic ?? false
    }

    /// The scalars that differ from `scalar` in case only, by simple mappings.
    private static func variants(_ scalar: UInt32) -> [UInt32] {
        guard let scalar = Unicode.Scalar(scalar) else { return [] }
        let (upper, lower) = (single(scalar.properties.uppercaseMapping), single(scalar.properties.lowercaseMapping))
        let lowerOfUpper = upper.flatMap { single($0.properties.lowercaseMapping) }
        return [upper, lower, lowerOfUpper].compactMap { $0?.value }
    }

    private static func single(_ text: String) -> Unicode.Scalar? {
        let scalars = text.unicodeScalars
        return scalars.count == 1 ? scalars.first : nil
    }

    // MARK: General categories

    /// The bit of the scalar's general category; 0 for a surrogate.
    static func category(_ scalar: UInt32) -> UInt32 {
        guard let scalar = Unicode.Scalar(scalar) else { return 0 }
        let position = order.firstIndex(of: scalar.properties.generalCategory) ?? 31
        return 1 << UInt32(truncatingIfNeeded: position & 31)
    }

    private static let order: [Unicode.GeneralCategory] = [
        .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
        .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .otherNumber, .connectorPunctuation,
        .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
        .otherPunctuation, .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol, .spaceSeparator,
        .lineSeparator, .paragraphSeparator, .control, .format, .surrogate, .privateUse, .unassigned,
    ]
    private static let short = [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
    ]
    private static let letters: UInt32 = 0b11111, marks: UInt32 = 0b111 << 5
    private static let digits: UInt32 = 1 << 8, connectors: UInt32 = 1 << 11

    /// Bits of a category by its one or two letters.
    static let names: [String: UInt32] = {
        var names: [String: UInt32] = [:]
        for (position, name) in short.numbered {
            let bit = UInt32(1) << UInt32(truncatingIfNeeded: position & 31)
            names.put(bit, for: name)
            names.put((names[String(name.prefix(1))] ?? 0) | bit, for: String(name.prefix(1)))
        }
        return names
    }()
}
