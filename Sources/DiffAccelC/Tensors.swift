import CDiffAccel
import DiffAccel
import DiffTensor

/// A named tensor of the caller, checked: its bytes match its shape and type.
@safe
struct HostTensor {
    let name: String
    let dtype: Int32
    let shape: Shape
    let data: UnsafeMutableRawPointer?
    let bytes: Int

    /// Checks an input. Throws `invalidArgument` and `shape`, naming the tensor.
    init(input raw: da_tensor) throws(DiffError) {
        name = try unsafe requiredText(raw.name, "da_tensor.name")
        unsafe (dtype, data, bytes) = unsafe (raw.dtype, raw.data, raw.bytes)
        let rank = unsafe raw.rank
        guard (0...DA_MAX_RANK).contains(rank) else {
            throw DiffError(.shape, "\(name): rank must be 0...\(DA_MAX_RANK), found \(rank)")
        }
        var extents: [Int] = []
        unsafe withUnsafeBytes(of: raw.shape) { source in
            for axis in 0..<Int(rank) {
                unsafe extents.append(Int(source.load(fromByteOffset: axis * 8, as: Int64.self)))
            }
        }
        let dims = extents
        let tensorName = name
        shape = try locating(tensorName) { () throws(DiffError) in try Shape(dims) }
        let size = try Self.size(dtype, name)
        guard unsafe data != nil || shape.count == 0 else { throw DiffError(.invalidArgument, "\(name): data is null") }
        guard shape.count &* size == bytes else {
            throw DiffError(.shape, "\(name): \(bytes) bytes for a \(shape) tensor of \(shape.count &* size) bytes")
        }
    }

    private static func size(_ dtype: Int32, _ name: String) throws(DiffError) -> Int {
        switch dtype {
        case DA_F32: 4
        case DA_I64: 8
        case DA_U8: 1
        default: throw DiffError(.shape, "\(name): unknown dtype \(dtype)")
        }
    }

    /// A copy of an f32 input.
    func tensor(_ budget: MemoryBudget?) throws(DiffError) -> Tensor {
        let tensor = try Tensor(uninitialized: shape, budget: budget)
        if bytes > 0, let from = unsafe data, let to = unsafe tensor.raw {
            unsafe to.copyMemory(from: from, byteCount: bytes)
        }
        return tensor
    }

    /// An integer input. At most a million elements.
    func integers() throws(DiffError) -> [Int] {
        guard shape.count <= 1_000_000 else { throw DiffError(.shape, "\(name): more than a million integers") }
        var values: [Int] = []
        for index in Indices(below: shape.count) {
            if let data = unsafe data {
                unsafe values.append(Int(data.loadUnaligned(fromByteOffset: index &* 8, as: Int64.self)))
            }
        }
        return values
    }
}

/// Fills the describing members of `target` for a tensor of the library.
func describe(_ target: inout da_tensor, _ shape: Shape, dtype: Int32, bytes: Int) {
    unsafe target.dtype = dtype
    unsafe target.bytes = bytes
    unsafe target.rank = Int32(truncatingIfNeeded: shape.rank)
    unsafe withUnsafeMutableBytes(of: &target.shape) { out in
        for axis in 0..<8 {
            unsafe out.storeBytes(
                of: axis < shape.rank ? Int64(shape[axis]) : 0, toByteOffset: axis * 8, as: Int64.self)
        }
    }
}
