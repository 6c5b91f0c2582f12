import DiffTensor

/// Rows of a signal that is worked on piece by piece: those from `first` on of `total`.
struct Stretch: Sendable {
    /// [count, channels]
    let rows: Tensor
    let first: Int
    /// Rows of the whole signal.
    let total: Int

    var end: Int { first &+ rows.shape[0] }
    var span: Span { Span(first: first, end: end, total: total) }

    /// Rows `first ..< end` of these. Throws `internal` for rows that are not there.
    func trimmed(_ first: Int, _ end: Int) throws(DiffError) -> Stretch {
        guard first >= self.first, end <= self.end, first < end else {
            throw DiffError(.internal, "rows \(first)..<\(end) of a stretch of \(self.first)..<\(self.end)")
        }
        return Stretch(rows: try rows.rows(first &- self.first, end &- first), first: first, total: total)
    }
}

/// Rows of a signal by number.
struct Span: Sendable, Equatable {
    var first: Int, end: Int
    let total: Int

    /// What is left when `margin` rows on both sides were needed, but for the ends of the signal.
    func shrunk(by margin: Int) -> Span {
        shrunkAnywhere(by: Reach(before: margin, after: margin, unit: 1))
    }

    /// What a layer of that reach can make of these rows.
    func shrunk(by reach: Reach) -> Span {
        let unit = max(1, reach.unit)
        return Span(
            first: first > 0 ? (first &+ reach.before &+ unit &- 1) / unit &* unit : 0,
            end: end < total ? (end &- reach.after) / unit &* unit : total, total: total)
    }

    /// The rows that are among these if the same rows stand elsewhere in a signal.
    func shrunkAnywhere(by reach: Reach) -> Span {
        let rest = reach.unit &- 1
        return Span(
            first: first > 0 ? first &+ reach.before &+ rest : 0,
            end: end < total ? end &- reach.after &- rest : total, total: total)
    }
}

/// Rows that a layer sees before the first and behind the last of `unit` that it makes at a time, counted from the signal's first one.
struct Reach: Sendable {
    let before: Int, after: Int, unit: Int

    /// Rows before and after one that are needed wherever it stands.
    var most: Int { max(before, after) &+ unit &- 1 }
}
