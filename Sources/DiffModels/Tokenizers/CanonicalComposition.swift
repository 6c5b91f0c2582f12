import DiffTensor

/// Canonical composition (NFC) of texts.
enum CanonicalComposition {
    /// `text` composed, in linear time. Stretches that stay as they are keep their positions; of others every scalar comes from the whole
    /// stretch, since marks change positions. Throws `cancelled`.
    static func apply(_ text: TextStretch, _ cancel: CancelFlag? = nil) throws(DiffError) -> NormalizedText {
        // Below U+0300 nothing composes and nothing decomposes.
        guard text.contains(where: { $0 >= 0x300 }) else { return NormalizedText(text) }
        var out = NormalizedText(reserving: text.count)
        var (start, turns) = (text.start, 0)
        while let first = text.at(start) {
            turns &+= 1
            if turns & 0xffff == 0 { try cancel?.check() }
            var end = start &+ 1
            while let scalar = text.at(end), !CanonicalForms.isBoundary(scalar) { end &+= 1 }
            let (stretch, position) = (text.part(.ordered(start, end)), start &- text.start)
            if end &- start == 1, !CanonicalForms.changes(first) {
                out.append(stretch, at: position)
            } else {
                out.append(stretch, at: position, became: composed(stretch))
            }
            start = end
        }
        return out
    }

    /// A stretch decomposed, its marks in order, composed again.
    private static func composed(_ stretch: TextStretch) -> [UInt32] {
        var parts: [UInt32] = []
        for scalar in stretch {
            if let letters = Hangul.decomposed(scalar) ?? CanonicalForms.decompositions[scalar] {
                for letter in letters.each { parts.append(letter) }
            } else {
                parts.append(scalar)
            }
        }
        if parts.count == 1 { return parts }
        return joined(ordered(parts, parts.each.map { CanonicalForms.classes[$0] ?? 0 }))
    }

    private typealias Part = (scalar: UInt32, order: UInt8)

    /// Marks in a row by their combining class; those of one class stay in their order.
    private static func ordered(_ parts: [UInt32], _ classes: [UInt8]) -> [Part] {
        let isOrdered = Indices(below: classes.count &- 1).allSatisfy { position in
            let (a, b) = (classes.at(position) ?? 0, classes.at(position &+ 1) ?? 0)
            return b == 0 || a <= b
        }
        if isOrdered { return zip(parts, classes).map { (scalar: $0, order: $1) } }
        var ordered: [Part] = []
        ordered.reserveCapacity(parts.count)
        var marks: [[UInt32]] = []
        func flush(_ marks: inout [[UInt32]], _ ordered: inout [Part]) {
            for (order, scalars) in marks.numbered {
                for scalar in scalars.each { ordered.append((scalar, UInt8(truncatingIfNeeded: order))) }
            }
            marks = []
        }
        for (position, scalar) in parts.numbered {
            let order = classes.at(position) ?? 0
            guard order != 0 else {
                flush(&marks, &ordered)
                ordered.append((scalar, 0))
                continue
            }
            if marks.isEmpty { marks = Array(repeating: [], count: 256) }
            marks.update(at: Int(order)) { $0.append(scalar) }
        }
        flush(&marks, &ordered)
        return ordered
    }

    /// Each mark joined with the letter before it unless a mark of its class, or a letter, stands between.
    private static func joined(_ parts: [Part]) -> [UInt32] {
        var out: [UInt32] = []
        out.reserveCapacity(parts.count)
        /// Where the last letter stands, and the class of what stands last behind it.
        var (letter, before): (Int?, UInt8) = (nil, 0)
        for part in parts.each {
            if let index = letter, let first = out.at(index),
                before < part.order || before == 0 && index == out.count &- 1,
                let composed = CanonicalForms.composed(first, part.scalar)
            {
                out.put(composed, at: index)
                continue
            }
            if part.order == 0 { letter = out.count }
            before = part.order
            out.append(part.scalar)
        }
        return out
    }
}
