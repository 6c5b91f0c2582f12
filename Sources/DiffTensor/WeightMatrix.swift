import CKernels

/// The weights of a linear layer, [outputs, inputs], in the order in which a kernel reads them.
///
/// Row-major weights serve everything. Packed ones serve products with matrices only, and save packing them again in
/// every call; the results are the same, bit for bit. Quantised ones are packed whole numbers of one byte, each of which counts as
/// itself times the scale of its output; paired ones are packed as bf16, and make activations meet them as bf16. Immutable.
public struct WeightMatrix: Sendable {
    /// Length of the results.
    public let outputs: Int
    /// Length of the input vectors.
    public let inputs: Int
    /// Whether the elements are in the order of the matrix kernels.
    public let isPacked: Bool
    let elements: Tensor

    /// Row-major weights of shape [outputs, inputs] in any element type; the inputs may have several axes, as those of a convolution
    /// over patches. Throws `shape` for a vector or when there are no outputs to count inputs by.
    public init(_ tensor: Tensor) throws(DiffError) {
        let shape = tensor.shape
        guard shape.rank == 2 || (shape.rank > 2 && shape[0] > 0) else {
            throw DiffError(.shape, "a weight matrix of shape \(shape)")
        }
        (outputs, inputs) = (shape[0], shape.rank == 2 ? shape[1] : shape.count / shape[0])
        isPacked = false
        elements = shape.rank == 2 ? tensor : try tensor.reshaped(Shape(outputs, inputs))
    }

    private init(_ outputs: Int, _ inputs: Int, packed elements: Tensor) {
        (self.outputs, self.inputs, self.elements) = (outputs, inputs, elements)
        isPacked = true
    }

    /// Whether packing gains anything: not where products are left to OpenBLAS.
    public static var packs: Bool { ck_gemm_current() == CK_GEMM_OWN }

    /// Whether there are elements, and not only their number: see a part of a network that is loaded.
    public var isLoaded: Bool { unsafe elements.raw != nil }

    /// The element type.
    public var dtype: DType { elements.dtype }

    /// [outputs] of quantised elements, behind them in their block, whose strips fill whole lines; else nil, as in a dry run.
    var scales: UnsafeMutablePointer<Float>? {
        guard dtype == .int8, let first = unsafe elements.raw else { return nil }
        return unsafe (first + elements.shape.count).assumingMemoryBound(to: Float.self)
    }

    /// These weights packed into a block of their own, charged to `budget`, on the threads of `pool`. Gives itself where packing
    /// gains nothing: packed already, or products are left to OpenBLAS. Throws `outOfMemory` or `overBudget`.
    public func packed(budget: MemoryBudget?, pool: WorkerPool? = nil) throws(DiffError) -> WeightMatrix {
        guard !isPacked, Self.packs, elements.shape.count > 0 else { return self }
        let packed = try packedElements(dtype, budget)
        if let from = unsafe elements.raw, let to = unsafe packed.raw {
            unsafe ck_pack_matrix(pool?.pool, dtype.rawValue, from, Int64(outputs), Int64(inputs), to)
        }
        return WeightMatrix(outputs, inputs, packed: packed)
    }

    /// These weights packed as whole numbers in -127...127 with a scale for each output, the largest magnitude of its weights over
    /// 127, so that a weight changes by half a scale at most. NaN or infinity among the weights of an output make NaN of it, as they
    /// would unquantised. Gives itself when there are no elements. Throws `internal` when packed already, `outOfMemory`, `overBudget`.
    public func quantised(budget: MemoryBudget?, pool: WorkerPool? = nil) throws(DiffError) -> WeightMatrix {
        guard !isPacked else { throw DiffError(.internal, "packed weights cannot be quantised") }
        guard elements.shape.count > 0 else { return self }
        let made = WeightMatrix(outputs, inputs, packed: try packedElements(.int8, budget))
        if let from = unsafe elements.raw, let to = unsafe made.elements.raw {
            unsafe ck_quantise_matrix(
                pool?.pool, dtype.rawValue, from, Int64(outputs), Int64(inputs),
                to.assumingMemoryBound(to: Int8.self), made.scales)
        }
        return made
    }

    /// These weights packed in pairs of bf16, rounded to nearest: products with them are in ``Precision/bf16``. Gives itself when there are no
    /// elements. Throws `internal` when packed already, `outOfMemory`, `overBudget`.
    public func paired(budget: MemoryBudget?, pool: WorkerPool? = nil) throws(DiffError) -> WeightMatrix {
        guard !isPacked else { throw DiffError(.internal, "packed weights cannot be paired") }
        guard elements.shape.count > 0 else { return self }
        let made = WeightMatrix(outputs, inputs, packed: try packedElements(.pairs, budget))
        if let from = unsafe elements.raw, let to = unsafe made.elements.raw {
            unsafe ck_pack_pairs(pool?.pool, dtype.rawValue, from, Int64(outputs), Int64(inputs), to)
        }
        return made
    }

    /// Room for these weights packed as `type`, with that for scales; without memory when the elements have none.
    private func packedElements(_ type: DType, _ budget: MemoryBudget?) throws(DiffError) -> Tensor {
        let units = type == .pairs ? inputs / 2 &+ inputs % 2 : inputs
        let shape = try Shape(Int(ck_packed_count(Int64(outputs), Int64(units))))
        let isVirtual = unsafe elements.raw == nil
        // Below 2^52 by Shape's bound.
        let bytes = shape.count &* type.size &+ (type == .int8 ? outputs &* DType.f32.size : 0)
        return try Tensor(
            isVirtual ? Storage(virtual: bytes) : Storage(byteCount: bytes, budget: budget), shape, type)
    }

    /// The weights of the outputs `start ..< start + count`, sharing memory. Throws `internal` when packed.
    public func outputs(_ start: Int, _ count: Int) throws(DiffError) -> WeightMatrix {
        guard !isPacked else { throw DiffError(.internal, "packed weights have no rows to take apart") }
        return try WeightMatrix(elements.rows(start, count))
    }
}
