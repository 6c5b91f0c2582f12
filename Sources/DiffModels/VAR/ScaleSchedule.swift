public import DiffTensor

/// The scales of next-scale generation: sides of square token maps from the coarsest to the finest, and where each begins in the
/// sequence of all tokens.
public struct ScaleSchedule: Sendable, Equatable {
    /// Side of each scale's map (`patch_nums` of the published code).
    public let sides: [Int]
    /// Tokens before each scale; one more element than there are scales, the last one all tokens.
    public let offsets: [Int]

    /// More scales than this are refused: the longest published schedule has 14.
    public static let maxScales = 64
    /// The largest side.
    public static let maxSide = 128

    /// The ten scales of the published 256-pixel models.
    public static let sides256 = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]
    /// The ten scales of the published 512-pixel model.
    public static let sides512 = [1, 2, 3, 4, 6, 9, 13, 18, 24, 32]

    /// A schedule of these sides. Throws `format` unless there are 2 to 64, the first is 1, and none is larger than the one
    /// after it.
    public init(_ sides: [Int]) throws(DiffError) {
        guard (2...Self.maxScales).contains(sides.count), sides.first == 1 else {
            throw DiffError(
                .format, "patch_nums needs 2...\(Self.maxScales) sides from 1 on, found \(sides.prefix(16))")
        }
        var offsets = [0]
        var (previous, total) = (1, 0)
        for side in sides.each {
            guard side >= previous, side <= Self.maxSide else {
                throw DiffError(
                    .format, "patch_nums must not fall and end by \(Self.maxSide) at most, found \(sides.prefix(16))")
            }
            previous = side
            total = Checked.sum(total, side &* side)
            offsets.append(total)
        }
        (self.sides, self.offsets) = (sides, offsets)
    }

    /// Number of scales.
    public var count: Int { sides.count }
    /// Side of the finest map.
    public var finest: Int { sides.at(sides.count &- 1) ?? 1 }
    /// Tokens of all scales.
    public var tokens: Int { offset(count) }

    /// Side of the map at `scale`; 1 outside the schedule.
    public func side(_ scale: Int) -> Int { sides.at(scale) ?? 1 }
    /// Tokens before `scale`.
    public func offset(_ scale: Int) -> Int { offsets.at(scale) ?? 0 }
    /// Tokens of `scale`.
    public func length(_ scale: Int) -> Int { side(scale) &* side(scale) }

    /// How many scales the first `tokens` tokens are; nil when a scale is cut.
    public func scales(in tokens: Int) -> Int? { offsets.firstIndex(of: tokens) }

    /// The scale of each of the `count` tokens from number `position` on.
    public func levels(_ position: Int, _ count: Int) -> [Int] {
        var scale = 0
        return Indices(below: count).map { index in
            while scale < self.count &- 1, offset(scale &+ 1) <= position &+ index { scale &+= 1 }
            return scale
        }
    }

    /// Who sees whom when the tokens of `scales` are the queries and those of `first` on give an output: every scale sees itself
    /// and all before it. Queries count from the first token of scale `first`.
    public func spans(_ scales: Range<Int>, from first: Int) -> [AttentionSpan] {
        let start = max(first, scales.lowerBound)
        return Indices(below: scales.upperBound &- start).map { index in
            let scale = start &+ index
            return AttentionSpan(
                first: offset(scale) &- offset(start), count: length(scale), keys: offset(scale &+ 1))
        }
    }

    /// Which of `count` shared convolutions smooths `scale`: the one whose tick is nearest to scale / (scales - 1), the first of
    /// equally near ones.
    ///
    /// Ties occur, also at the published ten scales, and are decided by the last bit: the ticks are computed as
    /// `numpy.linspace` does.
    public static func convolution(_ scale: Int, of scales: Int, among count: Int) -> Int {
        guard count > 1 else { return 0 }
        let n = Double(count)
        let (first, last) = count == 4 ? (1 / 3 / n, 1 - 1 / 3 / n) : (1 / 2 / n, 1 - 1 / 2 / n)
        let step = (last - first) / (n - 1)
        let position = Double(scale) / Double(max(1, scales &- 1))
        var (best, distance) = (0, Double.infinity)
        for tick in Indices(below: count) {
            let value = tick == count &- 1 ? last : Double(tick) * step + first
            if (value - position).magnitude < distance { (best, distance) = (tick, (value - position).magnitude) }
        }
        return best
    }
}
