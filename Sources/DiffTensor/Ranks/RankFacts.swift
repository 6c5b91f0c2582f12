extension RankRun {
    /// Throws `incompatible`, the same on every rank, when a rank's facts are not those of rank 0.
    func compareFacts() throws(DiffError) {
        if let difference = try difference() { throw agreed(difference) }
        try progress()
    }

    private func difference() throws(DiffError) -> DiffError? {
        var own = ByteWriter()
        for fact in options.facts.each {
            own.text(fact.name)
            own.text(String(fact.value.prefix(Self.factLength)))
        }
        let all = try share(own.bytes).map(Self.facts)
        guard let root = all.first else { return nil }
        for (rank, facts) in all.numbered {
            for (position, expected) in root.numbered {
                let found = facts.at(position)
                guard found?.name != expected.name || found?.value != expected.value else { continue }
                guard let found, found.name == expected.name else {
                    return DiffError(
                        .incompatible, "\(group.name(rank)) says nothing of its \(expected.name), as rank 0 does")
                }
                let (here, there) = Self.differing(found.value, expected.value)
                return DiffError(
                    .incompatible,
                    "\(group.name(rank)) has another \(expected.name) than \(group.name(0)): \(here) and \(there)")
            }
        }
        return nil
    }

    /// Bytes of a fact that are compared: longer ones are to be given by a fingerprint.
    private static let factLength = 16384

    private static func facts(_ bytes: [UInt8]) -> [(name: String, value: String)] {
        var (input, facts) = (ByteReader(bytes), [(name: String, value: String)]())
        while let name = input.text(), let value = input.text() { facts.append((name, value)) }
        return facts
    }

    /// Two texts from a little before the first place where they differ.
    private static func differing(_ a: String, _ b: String) -> (String, String) {
        let (first, second) = (Array(a.unicodeScalars), Array(b.unicodeScalars))
        var equal = 0
        while let x = first.at(equal), let y = second.at(equal), x == y { equal &+= 1 }
        let start = max(0, equal &- 20)
        func part(_ text: [Unicode.Scalar]) -> String {
            var part = start > 0 ? "..." : ""
            for index in Indices(below: 100) {
                if let scalar = text.at(start &+ index) { part.unicodeScalars.append(scalar) }
            }
            return start &+ 100 < text.count ? part + "..." : part
        }
        return (part(first), part(second))
    }
}
