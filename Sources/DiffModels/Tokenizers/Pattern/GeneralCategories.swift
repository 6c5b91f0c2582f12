import DiffTensor

/// General categories of Unicode as bits, in the version that published tokenizers are run with.
enum GeneralCategories {
    /// What later versions assign is unassigned here, as in the regular expressions of the tokenizers package.
    private static let lastMajorVersion = 16
    /// A letter that is lower case there and no longer afterwards.
    static let lowercaseOnce: UInt32 = 0x295

    private static let order: [(Unicode.GeneralCategory, String, String)] = [
        (.uppercaseLetter, "lu", "uppercaseletter"), (.lowercaseLetter, "ll", "lowercaseletter"),
        (.titlecaseLetter, "lt", "titlecaseletter"), (.modifierLetter, "lm", "modifierletter"),
        (.otherLetter, "lo", "otherletter"), (.nonspacingMark, "mn", "nonspacingmark"),
        (.spacingMark, "mc", "spacingmark"), (.enclosingMark, "me", "enclosingmark"),
        (.decimalNumber, "nd", "decimalnumber"), (.letterNumber, "nl", "letternumber"),
        (.otherNumber, "no", "othernumber"), (.connectorPunctuation, "pc", "connectorpunctuation"),
        (.dashPunctuation, "pd", "dashpunctuation"), (.openPunctuation, "ps", "openpunctuation"),
        (.closePunctuation, "pe", "closepunctuation"), (.initialPunctuation, "pi", "initialpunctuation"),
        (.finalPunctuation, "pf", "finalpunctuation"), (.otherPunctuation, "po", "otherpunctuation"),
        (.mathSymbol, "sm", "mathsymbol"), (.currencySymbol, "sc", "currencysymbol"),
        (.modifierSymbol, "sk", "modifiersymbol"), (.otherSymbol, "so", "othersymbol"),
        (.spaceSeparator, "zs", "spaceseparator"), (.lineSeparator, "zl", "lineseparator"),
        (.paragraphSeparator, "zp", "paragraphseparator"), (.control, "cc", "control"), (.format, "cf", "format"),
        (.surrogate, "cs", "surrogate"), (.privateUse, "co", "privateuse"), (.unassigned, "cn", "unassigned"),
    ]

    static let letters: UInt32 = 0b11111, marks: UInt32 = 0b111 << 5, digits: UInt32 = 1 << 8
    static let connectors: UInt32 = 1 << 11, spaces: UInt32 = 1 << 22, control: UInt32 = 1 << 25
    static let punctuation: UInt32 = 0b111_1111 << 11, symbols: UInt32 = 0b1111 << 18
    static let unassigned: UInt32 = 1 << 29, surrogate: UInt32 = 1 << 27

    /// Bits by name, without case, blanks and hyphens: `L`, `Lu`, `Uppercase_Letter`.
    static let names: [String: UInt32] = {
        var names: [String: UInt32] = [
            "letter": letters, "lc": 0b111, "casedletter": 0b111, "mark": marks, "combiningmark": marks,
            "number": 0b111 << 8, "punctuation": punctuation, "punct": punctuation, "symbol": symbols,
            "separator": 0b111 << 22,
            "other": 0b11111 << 25, "any": ~0, "assigned": ~unassigned,
        ]
        for (position, entry) in order.numbered {
            let bit = UInt32(1) << UInt32(truncatingIfNeeded: position & 31)
            let group = String(entry.1.prefix(1))
            names.put(bit, for: entry.1)
            names.put(bit, for: entry.2)
            names.put((names[group] ?? 0) | bit, for: group)
        }
        return names
    }()

    /// The bit of the scalar's category; 0 for what is no scalar.
    static func bit(_ scalar: UInt32) -> UInt32 {
        if let position = basic.at(Int(scalar)) { return 1 << UInt32(position & 31) }
        return 1 << UInt32(position(scalar) & 31)
    }

    /// Positions in `order` of the first plane.
    private static let basic: [UInt8] = Indices(below: 0x10000).map { position(UInt32(truncatingIfNeeded: $0)) }

    private static func position(_ scalar: UInt32) -> UInt8 {
        guard let properties = Unicode.Scalar(scalar)?.properties else { return 27 }
        guard isKnown(properties) else { return 29 }
        if scalar == lowercaseOnce { return 1 }
        return UInt8(truncatingIfNeeded: positions[properties.generalCategory] ?? 29)
    }

    private static let positions: [Unicode.GeneralCategory: Int] = {
        var positions: [Unicode.GeneralCategory: Int] = [:]
        for (position, entry) in order.numbered { positions.put(position, for: entry.0) }
        return positions
    }()

    /// Whether the scalar is one in that version.
    static func isKnown(_ properties: Unicode.Scalar.Properties) -> Bool {
        guard let age = properties.age else { return properties.generalCategory != .unassigned }
        return age.major <= lastMajorVersion
    }
}
