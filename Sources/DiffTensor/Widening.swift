import CKernels

extension Tensor {
    /// This tensor in f32: itself when it already is, otherwise a widened copy charged to `budget`.
    public func widened(budget: MemoryBudget?) throws(DiffError) -> Tensor {
        guard dtype != .f32 else { return self }
        guard let source = unsafe raw else {
            return try Tensor(Storage(virtual: shape.count &* 4), shape)
        }
        let out = try Tensor(uninitialized: shape, budget: budget)
        unsafe ck_to_f32(nil, dtype.rawValue, source, out.floats, Int64(shape.count))
        return out
    }
}
