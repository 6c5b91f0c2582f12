/// How far two lists of numbers are apart.
public struct Difference: Sendable, CustomStringConvertible {
    /// Largest |a - b|; infinite when a value is not finite on one side only, or the counts differ.
    public let absolute: Double
    /// Largest |expected|.
    public let magnitude: Double
    /// Index of the largest difference.
    public let index: Int

    /// The largest difference relative to the largest expected value.
    public var relative: Double { absolute == 0 ? 0 : absolute / max(magnitude, .leastNormalMagnitude) }

    /// Compares `actual` with `expected` element by element.
    public init<A: BinaryFloatingPoint, B: BinaryFloatingPoint>(_ actual: [A], _ expected: [B]) {
        guard actual.count == expected.count else {
            (absolute, magnitude, index) = (.infinity, 0, min(actual.count, expected.count))
            return
        }
        var (worst, largest, place) = (0.0, 0.0, 0)
        for i in actual.indices {
            let (a, b) = (Double(actual[i]), Double(expected[i]))
            let apart = a == b || (a.isNaN && b.isNaN) ? 0 : abs(a - b)
            if !(apart <= worst) { (worst, place) = (apart.isNaN ? .infinity : apart, i) }
            if b.isFinite { largest = max(largest, abs(b)) }
        }
        (absolute, magnitude, index) = (worst, largest, place)
    }

    public var description: String { "|difference| \(absolute) at \(index), values to \(magnitude)" }
}

/// Whether two lists hold the same bits: also tells 0 from -0 and one NaN from another.
public func sameBits(_ a: [Float], _ b: [Float]) -> Bool { a.map(\.bitPattern) == b.map(\.bitPattern) }

/// Sizes around the widths of vectors and tiles, where kernels change their path.
public let awkwardSizes = [1, 2, 3, 7, 8, 9, 15, 16, 17, 33]

/// Every combination of one element from each list, in order.
public func withEvery<A, B>(_ a: [A], _ b: [B]) -> [(A, B)] { a.flatMap { x in b.map { (x, $0) } } }
/// Every combination of one element from each list, in order.
public func withEvery<A, B, C>(_ a: [A], _ b: [B], _ c: [C]) -> [(A, B, C)] {
    a.flatMap { x in withEvery(b, c).map { (x, $0.0, $0.1) } }
}
