import DiffTensor
@_spi(_Unicode) import Swift

/// Unicode's canonical decompositions and compositions, made once from the standard library's, in the version that published
/// tokenizers are run with: the tokenizers package normalises by Unicode 9, where later characters are letters like others.
enum CanonicalForms {
    private static let lastMajorVersion = 9

    /// Full decompositions, except Hangul.
    static let decompositions: [UInt32: [UInt32]] = tables.decompositions
    /// The character that two become, by ``key(_:_:)``; except Hangul.
    private static let compositions: [UInt64: UInt32] = tables.compositions
    /// Combining classes other than 0.
    static let classes: [UInt32: UInt8] = tables.classes
    /// Whether a character begins a stretch that is normalised by itself: it neither combines with what stands before nor moves.
    static func isBoundary(_ scalar: UInt32) -> Bool {
        scalar < 0x300 || ideographs.contains(scalar) || !joining.contains(scalar)
    }

    /// Whether a character that stands alone becomes another one, or several.
    static func changes(_ scalar: UInt32) -> Bool {
        scalar >= 0x340 && !ideographs.contains(scalar) && tables.changing.contains(scalar)
    }

    /// The long stretch of Unicode without any such character.
    private static let ideographs: Range<UInt32> = 0x3400..<0xa66f

    private static let joining: Set<UInt32> = {
        var joining = Set(classes.keys)
        for (scalar, parts) in decompositions where classes[parts.first ?? 0] != nil { joining.insert(scalar) }
        for key in compositions.keys { joining.insert(UInt32(truncatingIfNeeded: key)) }
        joining.formUnion(Hangul.vowels)
        joining.formUnion(Hangul.finals)
        return joining
    }()

    /// What `first` and `second` become together; nil: nothing.
    static func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
        Hangul.composed(first, second) ?? compositions[key(first, second)]
    }

    private static func key(_ a: UInt32, _ b: UInt32) -> UInt64 { UInt64(a) << 32 | UInt64(b) }

    private struct Tables {
        var decompositions: [UInt32: [UInt32]] = [:], compositions: [UInt64: UInt32] = [:]
        var classes: [UInt32: UInt8] = [:], changing: Set<UInt32> = []
    }

    /// Everything that combines or decomposes lies in these.
    private static let ranges: [Range<UInt32>] = [
        0xc0..<0x3400, 0xa66f..<0xac00, 0xf900..<0x10000, 0x101fd..<0x12000, 0x16a00..<0x17000, 0x1bc00..<0x1bd00,
        0x1d100..<0x1d300, 0x1e000..<0x1e950, 0x2f800..<0x2fa20,
    ]

    private static let tables: Tables = {
        var tables = Tables()
        for range in ranges.each {
            for value in range {
                guard let scalar = Unicode.Scalar(value), let age = scalar.properties.age, age.major <= lastMajorVersion
                else { continue }
                let combining = scalar.properties.canonicalCombiningClass.rawValue
                if combining != 0 { tables.classes.put(combining, for: value) }
                let parts = String(scalar)._nfd.map(\.value)
                guard parts != [value] else { continue }
                tables.decompositions.put(parts, for: value)
                guard String(scalar)._nfc.map(\.value) == [value] else {
                    tables.changing.insert(value)
                    continue
                }
                // Two parts, of which the first may be composed itself.
                guard let last = parts.last else { continue }
                var front = String.UnicodeScalarView()
                for part in parts.dropLast() { if let part = Unicode.Scalar(part) { front.append(part) } }
                let firsts = String(front)._nfc.map(\.value)
                if let first = firsts.first, firsts.count == 1 { tables.compositions.put(value, for: key(first, last)) }
            }
        }
        return tables
    }()
}

/// Syllables and the letters they consist of, by arithmetic.
enum Hangul {
    static let vowels: ClosedRange<UInt32> = 0x1161...0x1175, finals: ClosedRange<UInt32> = 0x11a8...0x11c2
    private static let leads: ClosedRange<UInt32> = 0x1100...0x1112, syllables: ClosedRange<UInt32> = 0xac00...0xd7a3

    static func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if leads.contains(first), vowels.contains(second) {
            return 0xac00 &+ ((first &- 0x1100) &* 21 &+ (second &- 0x1161)) &* 28
        }
        if syllables.contains(first), (first &- 0xac00) % 28 == 0, finals.contains(second) {
            return first &+ (second &- 0x11a7)
        }
        return nil
    }

    /// The letters of a syllable; nil for other scalars.
    static func decomposed(_ scalar: UInt32) -> [UInt32]? {
        guard syllables.contains(scalar) else { return nil }
        let index = scalar &- 0xac00
        var letters = [0x1100 &+ index / 588, 0x1161 &+ index % 588 / 28]
        if index % 28 != 0 { letters.append(0x11a7 &+ index % 28) }
        return letters
    }
}
