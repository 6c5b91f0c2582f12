import CKernels

extension Tensor {
    /// This tensor in f32: itself when it already is, otherwise a widened copy charged to `budget`. Throws memory errors.
    public func widened(budget: MemoryBudget?) throws(DiffError) -> Tensor {
        guard dtype != .f32 else { return self }
        guard let source = unsafe raw else {
            return try Tensor(Storage(virtual: shape.count &* 4), shape)
        }
        let out = try Tensor(uninitialized: shape, budget: budget)
        unsafe ck_to_f32(nil, dtype.rawValue, source, out.floats, Int64(shape.count))
        return out
    }

    /// This f32 tensor in a narrower type, rounded to nearest with ties to even, charged to `budget`: for writing files. Itself for
    /// f32. Throws `internal` for a tensor that is narrow already and for types of packed elements, and memory errors.
    public func narrowed(to type: DType, budget: MemoryBudget?) throws(DiffError) -> Tensor {
        guard type != .f32 else { return self }
        guard dtype == .f32, type.isPlain else {
            throw DiffError(.internal, "no \(type.name) elements of \(dtype.name) ones")
        }
        let block = try Storage(byteCount: shape.count &* type.size, budget: budget)
        if let from = unsafe floats, let to = unsafe block.base?.assumingMemoryBound(to: UInt16.self) {
            for index in Indices(below: shape.count) {
                unsafe to[index] = type == .f16 ? halfBits(from[index]) : brainBits(from[index])
            }
        }
        return try Tensor(block, shape, type)
    }

    /// Puts these elements in f32 into `target`, f32 of equal count that shares no memory with them. Throws `internal` otherwise.
    public func widen(into target: Tensor, pool: WorkerPool?) throws(DiffError) {
        guard target.dtype == .f32, target.shape.count == shape.count, dtype.isPlain else {
            throw DiffError(.internal, "\(shape) of \(dtype.name) into \(target.shape) of \(target.dtype.name)")
        }
        guard let from = unsafe raw, let to = unsafe target.floats else { return }
        unsafe ck_to_f32(pool?.pool, dtype.rawValue, from, to, Int64(shape.count))
    }

    /// Puts these f32 elements into `target`, of equal count in a type of 16 bits or f32, rounded to nearest with ties to even. Throws
    /// `internal` otherwise.
    public func narrow(into target: Tensor, pool: WorkerPool?) throws(DiffError) {
        guard dtype == .f32, target.dtype.isPlain, target.shape.count == shape.count else {
            throw DiffError(.internal, "\(shape) of \(dtype.name) into \(target.shape) of \(target.dtype.name)")
        }
        guard let from = unsafe floats, let to = unsafe target.raw else { return }
        unsafe ck_from_f32(pool?.pool, target.dtype.rawValue, from, to, Int64(shape.count))
    }
}

/// IEEE binary16 nearest to `x`.
private func halfBits(_ x: Float) -> UInt16 {
    let bits = x.bitPattern
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = bits & 0x7fff_ffff
    if magnitude > 0x7f80_0000 { return sign | 0x7e00 }
    // From 65520 on the nearest is infinity.
    if magnitude >= 0x477f_f000 { return sign | 0x7c00 }
    guard magnitude >= 0x3880_0000 else {
        // Subnormal: a sum with 0.5 leaves the rounded digits at the end.
        let shifted = (Float(bitPattern: magnitude) + 0.5).bitPattern &- Float(0.5).bitPattern
        return sign | UInt16(truncatingIfNeeded: shifted)
    }
    let odd = (magnitude >> 13) & 1
    return sign | UInt16(truncatingIfNeeded: (magnitude &- 0x3800_0000 &+ 0xfff &+ odd) >> 13)
}

/// bfloat16 nearest to `x`.
private func brainBits(_ x: Float) -> UInt16 {
    let bits = x.bitPattern
    if x.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ ((bits >> 16) & 1)) >> 16)
}
