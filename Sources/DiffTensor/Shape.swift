/// Extents of a row-major tensor, at most 8 axes, slowest first.
///
/// A shape can only be made by a throwing initialiser that bounds every extent and the product below 2^48 elements, so
/// index arithmetic on a shape cannot overflow an `Int`.
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
        for extent in dims {
            guard extent >= 0, extent < Self.maxCount, let next = Checked.multiply(product, extent),
                next < Self.maxCount
            else { throw DiffError(.shape, "extent \(extent) of axis \(axis) makes the tensor too large") }
            extents[axis] = extent
            product = next
            axis += 1
        }
        self.extents = extents
        self.rank = axis
        self.count = product
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
        guard a >= 0, b >= 0, c >= 0, d >= 0, let ab = Checked.multiply(a, b), let abc = Checked.multiply(ab, c),
            let count = Checked.multiply(abc, d), count < Self.maxCount, max(max(a, b), max(c, d)) < Self.maxCount
        else { throw DiffError(.shape, "no tensor can have the extents \(a), \(b), \(c), \(d)") }
        var extents = [8 of Int](repeating: 1)
        (extents[0], extents[1], extents[2], extents[3]) = (a, b, c, d)
        (self.extents, self.rank, self.count) = (extents, rank, count)
    }

    /// Extent of `axis`; 1 beyond the last one.
    public subscript(axis: Int) -> Int { axis >= 0 && axis < rank ? extents[axis] : 1 }

    /// Extent of the fastest axis; 1 for a scalar.
    public var last: Int { self[rank - 1] }

    /// Elements before the fastest axis: how many rows of `last` there are.
    public var rows: Int {
        var product = 1
        for axis in 0..<max(0, rank - 1) { product *= extents[axis] }
        return product
    }

    /// The extents as an array.
    public var dims: [Int] { (0..<rank).map { extents[$0] } }

    /// The same shape with another extent on the fastest axis.
    public func replacingLast(_ extent: Int) throws(DiffError) -> Shape {
        var dims = extents
        guard rank > 0 else { throw DiffError(.shape, "a scalar has no last axis") }
        dims[rank - 1] = extent
        return try Shape(dims, rank: rank)
    }

    /// The same shape with another extent on the slowest axis.
    public func replacingFirst(_ extent: Int) throws(DiffError) -> Shape {
        var dims = extents
        guard rank > 0 else { throw DiffError(.shape, "a scalar has no first axis") }
        dims[0] = extent
        return try Shape(dims, rank: rank)
    }

    private init(_ dims: [8 of Int], rank: Int) throws(DiffError) {
        var product = 1
        for axis in 0..<rank {
            guard dims[axis] >= 0, let next = Checked.multiply(product, dims[axis]), next < Self.maxCount else {
                throw DiffError(.shape, "extent \(dims[axis]) of axis \(axis) makes the tensor too large")
            }
            product = next
        }
        (self.extents, self.rank, self.count) = (dims, rank, product)
    }

    /// Equal rank and extents.
    public static func == (a: Shape, b: Shape) -> Bool {
        guard a.rank == b.rank else { return false }
        for axis in 0..<a.rank where a.extents[axis] != b.extents[axis] { return false }
        return true
    }

    /// Extents in brackets, slowest first.
    public var description: String { "[" + dims.map(String.init).joined(separator: ", ") + "]" }
}
