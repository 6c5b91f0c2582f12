public import DiffTensor

/// Small tensors as Swift arrays, whatever their element type: tables, schedules, and the expected values of tests.
extension TensorTable {
    /// The integers of `name` (BOOL, U8 to U64, I8 to I64) in order. Throws `unsupported` for other element types and
    /// for values beyond 63 bits, `format` for more than ``Limits/arrayElements`` elements.
    public func integers(_ name: String) throws(DiffError) -> [Int] {
        let (entry, block) = try small(name)
        return try unsafe block.withBytes { (bytes) throws(DiffError) in
            try unsafe Self.integers(bytes, entry.type, "tensor \"\(entry.name)\"")
        }
    }

    /// The numbers of `name` (F64, F32, F16, BF16 and integers) in order; errors as for ``integers(_:)``.
    public func doubles(_ name: String) throws(DiffError) -> [Double] {
        let (entry, block) = try small(name)
        switch entry.type {
        case .f64:
            return try unsafe block.withBytes { (bytes) throws(DiffError) in
                unsafe Self.elements(bytes, UInt64.self) { Double(bitPattern: $0) }
            }
        case .f32, .f16, .bf16: return try floats(name).map(Double.init)
        default: return try integers(name).map(Double.init)
        }
    }

    /// The numbers of `name` as f32, rounded when the file holds more digits; errors as for ``integers(_:)``.
    public func floats(_ name: String) throws(DiffError) -> [Float] {
        let (entry, block) = try small(name)
        if let type = entry.type.weight, entry.type.isNative {
            return try Tensor(block, entry.shape, type).widened(budget: nil).array
        }
        return try doubles(name).map { Float($0) }
    }

    private func small(_ name: String) throws(DiffError) -> (TensorEntry, Storage) {
        let place = try place(name)
        guard place.entry.shape.count <= Limits.arrayElements else {
            throw DiffError(
                .format, "\(path): tensor \"\(name)\": \(place.entry.shape.count) elements are too many for a table")
        }
        let block = try Storage(byteCount: place.entry.byteCount, budget: nil)
        try read(place, into: block, at: 0)
        return (place.entry, block)
    }

    static func integers(
        _ bytes: UnsafeRawBufferPointer, _ type: ElementType, _ place: String
    ) throws(DiffError) -> [Int] {
        switch type {
        case .bool, .u8: return unsafe elements(bytes, UInt8.self) { Int($0) }
        case .i8: return unsafe elements(bytes, Int8.self) { Int($0) }
        case .u16: return unsafe elements(bytes, UInt16.self) { Int($0) }
        case .i16: return unsafe elements(bytes, Int16.self) { Int($0) }
        case .u32: return unsafe elements(bytes, UInt32.self) { Int($0) }
        case .i32: return unsafe elements(bytes, Int32.self) { Int($0) }
        case .i64: return unsafe elements(bytes, Int64.self) { Int($0) }
        case .u64:
            let values = unsafe elements(bytes, UInt64.self) { Int(exactly: $0) }
            let small = values.compactMap { $0 }
            guard small.count == values.count else {
                throw DiffError(.unsupported, "\(place): a value beyond 63 bits")
            }
            return small
        default:
            throw DiffError(.unsupported, "\(place): \(type.rawValue) elements are not integers")
        }
    }

    private static func elements<T: FixedWidthInteger & BitwiseCopyable, R>(
        _ bytes: UnsafeRawBufferPointer, _ type: T.Type, _ convert: (T) -> R
    ) -> [R] {
        var values: [R] = []
        let size = MemoryLayout<T>.size
        values.reserveCapacity(bytes.count / size)
        var position = 0
        while bytes.count &- position >= size {  // position <= count: nothing can wrap
            values.append(convert(T(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: position, as: T.self))))
            position &+= size
        }
        return values
    }
}
