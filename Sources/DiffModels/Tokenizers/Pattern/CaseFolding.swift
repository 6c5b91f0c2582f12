import DiffTensor

/// Characters that differ in case only, after Unicode's case folding; made once, when a pattern first asks.
enum CaseFolding {
    /// For each scalar that has any, the others that fold to the same scalar.
    static let others: [UInt32: [UInt32]] = {
        var classes: [UInt32: [UInt32]] = [:]
        for scalar in cased.each { classes.put((classes[scalar.simple] ?? []) + [scalar.value], for: scalar.simple) }
        var others: [UInt32: [UInt32]] = [:]
        for members in Array(classes.values).each where members.count > 1 {
            for member in members.each { others.put(members.filter { $0 != member }, for: member) }
        }
        return others
    }()

    /// Scalars that fold to several.
    static let long: [UInt32: [UInt32]] = {
        var long: [UInt32: [UInt32]] = [:]
        for scalar in cased.each where scalar.full.count > 1 { long.put(scalar.full, for: scalar.value) }
        return long
    }()

    /// The scalars that fold to several, by what they fold to.
    static let joined: [[UInt32]: [UInt32]] = {
        var joined: [[UInt32]: [UInt32]] = [:]
        for (scalar, folded) in long { joined.put((joined[folded] ?? []) + [scalar], for: folded) }
        return joined
    }()

    /// The scalar that all of a class fold to.
    static func simple(_ scalar: UInt32) -> UInt32 {
        Unicode.Scalar(scalar).map { Folded($0).simple } ?? scalar
    }

    private struct Folded {
        let value: UInt32, simple: UInt32, full: [UInt32]

        /// Folding is lower case of upper case: where upper case has several letters, or differs, of the scalar itself.
        init(_ scalar: Unicode.Scalar) {
            value = scalar.value
            switch value {
            // Turkish: folds to itself, though its upper case is the one of i.
            case 0x131: (simple, full) = (value, [value])
            // Capital sharp s has itself as upper case.
            case 0x1e9e: (simple, full) = (0xdf, [0x73, 0x73])
            default:
                var lowered: [UInt32] = []
                for upper in scalar.properties.uppercaseMapping.unicodeScalars {
                    lowered += upper.properties.lowercaseMapping.unicodeScalars.map(\.value)
                }
                let own = scalar.properties.lowercaseMapping.unicodeScalars
                full = lowered
                simple =
                    if let only = lowered.first, lowered.count == 1 { only } else {
                        own.count == 1 ? own.first?.value ?? scalar.value : scalar.value
                    }
            }
        }
    }

    /// Everything with case lies below the first range without any, or above the second.
    private static let cased: [Folded] = {
        var cased: [Folded] = []
        for range in [
            UInt32(0x41)..<0x2e80, 0xa640..<0xac00, 0xfb00..<0x10000, 0x10400..<0x12000, 0x16e00..<0x16f00,
            0x1e900..<0x1e950,
        ] {
            for value in range {
                guard let scalar = Unicode.Scalar(value),
                    scalar.properties.changesWhenCaseFolded || scalar.properties.changesWhenCaseMapped,
                    GeneralCategories.isKnown(scalar.properties)
                else { continue }
                cased.append(Folded(scalar))
            }
        }
        return cased
    }()
}
