/// Extents of a row-major tensor, at most 8 axes, slowest first.
///
/// A shape can only be made by a throwing initialiser that bounds the product of all extents that are not zero below 2^48. So the
/// product of any of the extents, also times a few bytes, fits an `Int`, and arithmetic on a shape may use the wrapping operators.
public struct Shape: Sendable, Equatable, CustomStringConvertible {
    /// The largest number of axes.
    public static let maxRank = 8
    /// No tensor has as many elements as this.
    public static let maxCount = 1 << 48

    private var extents: [8 of Int]
    /// Number of axes.
    public let rank: Int
    /// Number of elements.
    public let count: Int

    /// The shape with these extents. Throws `shape` for a negative extent, more than 8 axes or 2^48 elements.
    public init<S: Collection>(_ dims: S) throws(DiffError) where S.Element == Int {
        guard dims.count <= Self.maxRank else {
            throw DiffError(.shape, "a tensor has at most \(Self.maxRank) axes, found \(dims.count)")
        }
        var extents = [8 of Int](repeating: 1)
        var product = 1
        var axis = 0
        var isEmpty = false
        for extent in dims {
            guard axis >= 0, axis < Self.maxRank, let next = Self.product(product, extent) else {
                throw DiffError(.shape, "extent \(extent) of axis \(axis) makes the tensor too large")
            }
            extents[axis] = extent
            isEmpty = isEmpty || extent == 0
            product = next
            axis &+= 1
        }
        self.extents = extents
        self.rank = axis
        self.count = isEmpty ? 0 : product
    }

    /// A vector.
    public init(_ a: Int) throws(DiffError) { try self.init(CollectionOfOne(a)) }

    /// A matrix.
    public init(_ a: Int, _ b: Int) throws(DiffError) { try self.init(a, b, 1, 1, rank: 2) }

    /// A tensor of three axes.
    public init(_ a: Int, _ b: Int, _ c: Int) throws(DiffError) { try self.init(a, b, c, 1, rank: 3) }

    /// A tensor of four axes.
    public init(_ a: Int, _ b: Int, _ c: Int, _ d: Int) throws(DiffError) { try self.init(a, b, c, d, rank: 4) }

    // Without an array: shapes are made in the step loop, which must not allocate.
    private init(_ a: Int, _ b: Int, _ c: Int, _ d: Int, rank: Int) throws(DiffError) {
        guard let ab = Self.product(max(1, a), b), let abc = Self.product(ab, c), let abcd = Self.product(abc, d),
            a >= 0, a < Self.maxCount
        else { throw DiffError(.shape, "no tensor can have the extents \(a), \(b), \(c), \(d)") }
        var extents = [8 of Int](repeating: 1)
        (extents[0], extents[1], extents[2], extents[3]) = (a, b, c, d)
        (self.extents, self.rank) = (extents, rank)
        count = a == 0 || b == 0 || c == 0 || d == 0 ? 0 : abcd
    }

    /// `product` of the extents so far times one more, which counts as 1 when it is 0; nil when that is no shape.
    private static func product(_ product: Int, _ extent: Int) -> Int? {
        guard extent >= 0, let next = Checked.multiply(product, max(1, extent)), next < maxCount else { return nil }
        return next
    }

    /// Extent of `axis`; 1 beyond the last one.
    public subscript(axis: Int) -> Int {
        axis >= 0 && axis < rank && axis < Self.maxRank ? extents[axis] : 1
    }

    /// Extent of the fastest axis; 1 for a scalar.
    public var last: Int { self[rank &- 1] }

    /// Elements before the fastest axis: how many rows of `last` there are.
    public var rows: Int {
        var product = 1
        for axis in Indices(below: rank &- 1) { product &*= self[axis] }
        return product
    }

    /// The extents as an array.
    public var dims: [Int] { Indices(below: rank).map { self[$0] } }

    /// The same shape with another extent on the fastest axis.
    public func replacingLast(_ extent: Int) throws(DiffError) -> Shape {
        guard rank > 0 else { throw DiffError(.shape, "a scalar has no last axis") }
        return try replacing(rank &- 1, extent)
    }

    /// The same shape with another extent on the slowest axis.
    public func replacingFirst(_ extent: Int) throws(DiffError) -> Shape {
        guard rank > 0 else { throw DiffError(.shape, "a scalar has no first axis") }
        return try replacing(0, extent)
    }

    private func replacing(_ axis: Int, _ extent: Int) throws(DiffError) -> Shape {
        guard axis >= 0, axis < Self.maxRank else { throw DiffError(.internal, "no axis \(axis)") }
        var extents = extents
        extents[axis] = extent
        return try Shape(extents, rank: rank)
    }

    private init(_ extents: [8 of Int], rank: Int) throws(DiffError) {
        var product = 1
        var isEmpty = false
        for axis in Indices(below: Self.maxRank) {
            guard let next = Self.product(product, extents[axis]) else {
                throw DiffError(.shape, "extent \(extents[axis]) of axis \(axis) makes the tensor too large")
            }
            product = next
            isEmpty = isEmpty || extents[axis] == 0
        }
        (self.extents, self.rank, self.count) = (extents, rank, isEmpty ? 0 : product)
    }

    /// Equal rank and extents.
    public static func == (a: Shape, b: Shape) -> Bool {
        guard a.rank == b.rank else { return false }
        for axis in Indices(below: maxRank) where a.extents[axis] != b.extents[axis] { return false }
        return true
    }

    /// Extents in brackets, slowest first.
    public var description: String { "[" + dims.map(String.init).joined(separator: ", ") + "]" }
}
