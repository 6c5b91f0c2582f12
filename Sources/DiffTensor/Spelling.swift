/// Which known word may have been meant.
public enum Spelling {
    /// The longest word that is compared: more is no slip of the fingers.
    private static let longest = 64

    /// "; did you mean "word"?" with the known word that is nearest to `word`; empty when none is near.
    public static func suggestion(for word: String, among known: [String]) -> String {
        nearest(to: word, among: known).map { "; did you mean \"\($0)\"?" } ?? ""
    }

    /// The known word with the fewest letters to change, at most a third of them and one more; nil when none is that near.
    public static func nearest(to word: String, among known: [String]) -> String? {
        let written = word.plainBytes
        guard written.count <= longest else { return nil }
        var best: (word: String, distance: Int)?
        for candidate in known.each {
            let letters = candidate.plainBytes
            guard letters.count <= longest else { continue }
            let distance = Self.distance(written, letters)
            let allowed = (max(written.count, letters.count) &+ 2) / 3
            if distance <= allowed, distance < letters.count, distance < best?.distance ?? Int.max {
                best = (candidate, distance)
            }
        }
        return best?.word
    }

    /// How many letters are to be added, left out or changed to turn one word into the other (Levenshtein).
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(Indices(below: b.count &+ 1))
        for (i, letter) in a.numbered {
            var diagonal = i
            row.put(i &+ 1, at: 0)
            for (j, other) in b.numbered {
                let above = row.at(j &+ 1) ?? 0
                let change = diagonal &+ (letter == other ? 0 : 1)
                row.put(min(change, above &+ 1, (row.at(j) ?? 0) &+ 1), at: j &+ 1)
                diagonal = above
            }
        }
        return row.at(b.count) ?? 0
    }
}
