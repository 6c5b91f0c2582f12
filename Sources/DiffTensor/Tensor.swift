/// A row-major tensor: a window of a shared block, its shape and element type.
///
/// Copying a tensor copies the reference. Views share the block: `reshaped`, `rows` and `columns` move no element.
/// Activations are f32; weights may be narrower. Contents are written once, by the op that makes the tensor.
public struct Tensor: @unchecked Sendable {
    // Unchecked: see Storage.
    /// The shared block.
    public let storage: Storage
    /// Extents, slowest axis first.
    public let shape: Shape
    /// Element type.
    public let dtype: DType
    /// First element within the block.
    public let offset: Int
    /// Where its gradient goes; nil for a constant.
    var tracking: Tracking?

    /// A tensor over `storage`, which must hold `offset + shape.count` elements. Throws `internal` otherwise.
    public init(_ storage: Storage, _ shape: Shape, _ dtype: DType = .f32, offset: Int = 0) throws(DiffError) {
        // Below 2^52 by the bounds of offset and shape: nothing can wrap.
        guard offset >= 0, offset < Shape.maxCount, (offset &+ shape.count) &* dtype.size <= storage.byteCount
        else {
            throw DiffError(.internal, "a \(shape) tensor does not fit a block of \(storage.byteCount) bytes")
        }
        self.storage = storage
        self.shape = shape
        self.dtype = dtype
        self.offset = offset
    }

    /// An uninitialised f32 tensor of its own block.
    public init(uninitialized shape: Shape, budget: MemoryBudget?) throws(DiffError) {
        try self.init(Storage(byteCount: shape.count &* 4, budget: budget), shape)
    }

    /// An f32 tensor holding `values` in order. Throws `shape` when the counts differ.
    public init(_ values: [Float], _ shape: Shape, budget: MemoryBudget? = nil) throws(DiffError) {
        guard values.count == shape.count else {
            throw DiffError(.shape, "\(values.count) values for a tensor of shape \(shape)")
        }
        try self.init(uninitialized: shape, budget: budget)
        unsafe values.withUnsafeBufferPointer { source in
            if let from = source.baseAddress, let to = unsafe floats {
                unsafe to.update(from: from, count: values.count)
            }
        }
    }

    /// Bytes of the elements (not of the block).
    public var byteCount: Int { shape.count &* dtype.size }

    /// First element; nil in a dry run.
    public var raw: UnsafeMutableRawPointer? { unsafe storage.base.map { unsafe $0 + offset &* dtype.size } }

    /// First element of an f32 tensor; nil in a dry run.
    public var floats: UnsafeMutablePointer<Float>? {
        unsafe raw.map { unsafe $0.assumingMemoryBound(to: Float.self) }
    }

    /// The same elements under another shape of equal count.
    public func reshaped(_ shape: Shape) throws(DiffError) -> Tensor {
        guard shape.count == self.shape.count else {
            throw DiffError(.shape, "\(self.shape) cannot be read as \(shape)")
        }
        var view = try Tensor(storage, shape, dtype, offset: offset)
        view.tracking = tracking
        return view
    }

    /// Entries `start ..< start + count` of the slowest axis.
    public func rows(_ start: Int, _ count: Int) throws(DiffError) -> Tensor {
        guard start >= 0, count >= 0, count <= shape[0], start <= shape[0] &- count else {
            throw DiffError(.shape, "rows \(start)...+\(count) of a \(shape) tensor")
        }
        let rowSize = shape[0] > 0 ? shape.count / shape[0] : 0
        var view = try Tensor(storage, shape.replacingFirst(count), dtype, offset: offset &+ start &* rowSize)
        view.tracking = tracking.map {
            Tracking(node: $0.node, start: $0.start &+ start &* rowSize, count: $0.count)
        }
        return view
    }

    /// The elements as an array of f32 (a copy; for tests and small tables).
    public var array: [Float] {
        guard dtype == .f32, let base = unsafe floats else { return [] }
        return unsafe Array(UnsafeBufferPointer(start: base, count: shape.count))
    }
}

/// Column group `index` of `groups` in a [samples, groups * width] tensor: a per-sample vector such as a shift,
/// a scale or a gate, read in place.
public struct RowVectors: Sendable {
    /// The matrix that holds the vectors.
    public let tensor: Tensor
    /// Elements of one vector.
    public let width: Int
    /// Elements between the vectors of two samples.
    public let stride: Int
    let start: Int

    /// Throws `shape` unless `tensor` is a matrix whose width is a multiple of `groups`.
    public init(_ tensor: Tensor, _ index: Int, of groups: Int) throws(DiffError) {
        guard tensor.shape.rank == 2, groups > 0, index >= 0, index < groups, tensor.shape[1] % groups == 0 else {
            throw DiffError(.shape, "group \(index) of \(groups) in the columns of a \(tensor.shape) tensor")
        }
        self.tensor = tensor
        width = tensor.shape[1] / groups
        stride = tensor.shape[1]
        start = index &* width
    }

    /// Columns `start ..< start + width`. Throws `shape` unless `tensor` is a matrix that has them.
    public init(_ tensor: Tensor, columns start: Int, _ width: Int) throws(DiffError) {
        guard tensor.shape.rank == 2, start >= 0, width >= 0, width <= tensor.shape[1],
            start <= tensor.shape[1] &- width
        else { throw DiffError(.shape, "columns \(start)...+\(width) of a \(tensor.shape) tensor") }
        (self.tensor, self.start, self.width, stride) = (tensor, start, width, tensor.shape[1])
    }

    var floats: UnsafeMutablePointer<Float>? { unsafe tensor.floats.map { unsafe $0 + start } }
}
