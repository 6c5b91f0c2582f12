import DiffTensor

/// Elements that no kernel reads, in the type they are kept as.
extension TensorTable {
    /// The tensor of `place`, whose elements are F64 (rounded to f32) or of eight bits (exact in bf16). The file's bytes and the
    /// result are in memory together. Throws `notFinite` for a number beyond f32, `unsupported` for other types, as ``load(_:budget:)``.
    func converted(_ place: Place, budget: MemoryBudget?, pool: WorkerPool? = nil) throws(DiffError) -> Tensor {
        let entry = place.entry
        let type = try weightType(entry)
        let raw = try Storage(byteCount: entry.byteCount, budget: budget)
        try read(place, into: raw, at: 0, pool: pool)
        // Below 2^51 by Shape's bound
        let block = try Storage(byteCount: entry.shape.count &* type.size, budget: budget)
        guard let from = unsafe raw.base, let to = unsafe block.base else {
            return try Tensor(block, entry.shape, type)
        }
        switch entry.type {
        case .f64:
            let narrow = unsafe to.assumingMemoryBound(to: Float.self)
            for index in Indices(below: entry.shape.count) {
                let wide = unsafe from.loadUnaligned(fromByteOffset: index &* 8, as: Double.self)
                unsafe narrow[index] = Float(wide)
                guard unsafe narrow[index].isFinite || !wide.isFinite else {
                    throw DiffError(
                        .notFinite,
                        "\(path): tensor \"\(sourceName(entry.name))\": \(wide) at element \(index) is beyond f32")
                }
            }
        case .f8e4m3, .f8e5m2:
            let wide = unsafe to.assumingMemoryBound(to: UInt16.self)
            let table = Array(UInt8.min...UInt8.max).map { entry.type.brainBits($0) }
            unsafe table.withUnsafeBufferPointer { table in
                for index in Indices(below: entry.shape.count) {
                    let bits = unsafe from.load(fromByteOffset: index, as: UInt8.self)
                    unsafe wide[index] = table[Int(bits)]
                }
            }
        default:
            throw DiffError(.internal, "\(path): tensor \"\(entry.name)\": \(entry.type.rawValue) needs no conversion")
        }
        return try Tensor(block, entry.shape, type)
    }
}

extension ElementType {
    /// The bf16 bits of the number that `bits` are in F8_E4M3 (OCP's, without infinities) or F8_E5M2.
    func brainBits(_ bits: UInt8) -> UInt16 {
        let (mantissaBits, bias) = self == .f8e5m2 ? (2, 15) : (3, 7)
        let magnitude = Int(bits & 0x7f)
        let exponent = magnitude >> mantissaBits
        let mantissa = magnitude & ((1 << mantissaBits) &- 1)
        let value: Float
        if self == .f8e5m2 ? exponent == 31 : magnitude == 0x7f {
            value = self == .f8e5m2 && mantissa == 0 ? .infinity : .nan
        } else {
            // Without the implicit bit where the exponent is 0.
            let whole = exponent == 0 ? mantissa : mantissa | 1 << mantissaBits
            value = Float(sign: .plus, exponent: max(1, exponent) &- bias &- mantissaBits, significand: Float(whole))
        }
        return UInt16(truncatingIfNeeded: (bits & 0x80 == 0 ? value : -value).bitPattern >> 16)
    }
}
