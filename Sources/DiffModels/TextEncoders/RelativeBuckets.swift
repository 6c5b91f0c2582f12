import DiffTensor

/// The kinds of distances that T5's attention tells apart, in both directions: near ones each by itself, farther ones by the logarithm.
///
/// Source: `_relative_position_bucket` of transformers, whose float32 logarithms these whole numbers agree with.
public struct RelativeBuckets: Sendable {
    /// Buckets of both directions together.
    public let count: Int
    /// Distances below this have a bucket of their own.
    private let exact: Int
    /// The least distance of each further bucket but the first.
    private let limits: [Int]

    /// `count` buckets, of which the last is for distances of about `maxDistance` and all beyond; both as ``T5Configuration`` bounds
    /// them.
    public init(count: Int, maxDistance: Int) {
        let half = count / 2
        (self.count, exact) = (count, half / 2)
        let rest = half &- exact
        var limits: [Int] = []
        for step in Indices(below: rest) where step > 0 {
            limits.append(Self.limit(step, of: rest, from: exact, to: maxDistance))
        }
        self.limits = limits
    }

    /// The bucket of a key that stands `distance` positions behind its query; before it, when negative.
    public func bucket(of distance: Int) -> Int {
        let (side, far) = (distance > 0 ? count / 2 : 0, distance.magnitude)
        guard far >= exact else { return side &+ Int(far) }
        var bucket = side &+ exact
        for limit in limits.each where far >= limit { bucket &+= 1 }
        return bucket
    }

    /// The least a with a^rest >= from^(rest - step) to^step: where the logarithm of a / from reaches step / rest of that of to / from.
    private static func limit(_ step: Int, of rest: Int, from: Int, to: Int) -> Int {
        let bound = LargeNumber(from, to: rest &- step, times: to, to: step)
        var (low, high) = (from, max(from, to))
        while low < high {
            let middle = (low &+ high) / 2
            if LargeNumber(middle, to: rest) < bound { low = middle &+ 1 } else { high = middle }
        }
        return low
    }
}

/// A natural number of any size, for comparing powers.
private struct LargeNumber: Comparable {
    /// Digits to the base 2^32, the lowest first, without zeros at the end.
    private var digits: [UInt32] = [1]

    /// base^exponent · other^otherExponent, of factors below 2^32.
    init(_ base: Int, to exponent: Int, times other: Int = 1, to otherExponent: Int = 0) {
        for _ in Indices(below: exponent) { multiply(by: base) }
        for _ in Indices(below: otherExponent) { multiply(by: other) }
    }

    private mutating func multiply(by factor: Int) {
        var carry: UInt64 = 0
        for position in Indices(below: digits.count) {
            let product = UInt64(digits.at(position) ?? 0) &* UInt64(truncatingIfNeeded: factor) &+ carry
            digits.put(UInt32(truncatingIfNeeded: product), at: position)
            carry = product >> 32
        }
        if carry > 0 { digits.append(UInt32(truncatingIfNeeded: carry)) }
    }

    static func < (a: LargeNumber, b: LargeNumber) -> Bool {
        guard a.digits.count == b.digits.count else { return a.digits.count < b.digits.count }
        for position in Indices(below: a.digits.count) {
            let place = a.digits.count &- 1 &- position
            let (x, y) = (a.digits.at(place) ?? 0, b.digits.at(place) ?? 0)
            if x != y { return x < y }
        }
        return false
    }
}
