import DiffTensor

/// A normalised text: its scalars, and for each the range of the original scalars that it comes from.
struct NormalizedText {
    private(set) var scalars: [UInt32]
    /// Nil: each scalar comes from the one at the same position.
    private var origins: [Range<Int>]?

    /// `text` as it is.
    init(_ text: TextStretch) { (scalars, origins) = (text.scalars, nil) }

    /// No text yet, of which about `count` scalars will be appended.
    init(reserving count: Int) {
        (scalars, origins) = ([], nil)
        scalars.reserveCapacity(count)
    }

    /// The original scalars that a range of these comes from, in a text that begins at `start`.
    func origin(of range: Range<Int>, behind start: Int = 0) -> Range<Int> {
        guard let origins else { return .ordered(range.lowerBound &+ start, range.upperBound &+ start) }
        let first = origins.at(range.lowerBound)?.lowerBound ?? origins.last?.upperBound ?? 0
        let last = range.isEmpty ? first : origins.at(range.upperBound &- 1)?.upperBound ?? first
        return .ordered(first &+ start, last &+ start)
    }

    /// Appends what stands from `position` on in the original text: as it is, or what it became.
    mutating func append(_ before: TextStretch, at position: Int, became after: [UInt32]? = nil) {
        guard let after, !before.equals(after) else {
            for scalar in before { scalars.append(scalar) }
            guard origins != nil else { return }
            for offset in Indices(below: before.count) {
                origins?.append(.ordered(position &+ offset, position &+ offset &+ 1))
            }
            return
        }
        if origins == nil { origins = Indices(below: position).map { .ordered($0, $0 &+ 1) } }
        for scalar in after.each {
            scalars.append(scalar)
            origins?.append(.ordered(position, position &+ before.count))
        }
    }

    /// These scalars with the origins of `earlier`, the text that they were made of.
    func traced(through earlier: NormalizedText) -> NormalizedText {
        guard earlier.origins != nil else { return self }
        var traced = self
        traced.origins = Indices(below: scalars.count).map { position in
            earlier.origin(of: origin(of: .ordered(position, position &+ 1)))
        }
        return traced
    }
}
