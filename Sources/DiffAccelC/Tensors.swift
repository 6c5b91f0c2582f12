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

    /// An integer input of at most `limit` elements.
    func integers(limit: Int = 1_000_000) throws(DiffError) -> [Int] {
        guard shape.count <= limit else { throw DiffError(.shape, "\(name): more than \(limit) integers") }
        var values: [Int] = []
        for index in Indices(below: shape.count) {
            if let data = unsafe data {
                unsafe values.append(Int(data.loadUnaligned(fromByteOffset: index &* 8, as: Int64.self)))
            }
        }
        return values
    }

    /// The bytes of a text.
    func text(limit: Int) throws(DiffError) -> [UInt8] {
        guard bytes <= limit else { throw DiffError(.shape, "\(name): \(bytes) bytes; at most \(limit)") }
        return unsafe Array(UnsafeRawBufferPointer(start: data, count: data == nil ? 0 : bytes))
    }
}

/// A tensor of the library as the caller sees it: its data stay the library's.
func describedView(_ tensor: ResultTensor) -> da_tensor {
    var view = unsafe da_tensor()
    unsafe view.name = tensor.cName
    unsafe view.data = tensor.raw
    let dtype =
        switch tensor.element {
        case .float32: DA_F32
        case .uint8: DA_U8
        case .int64: DA_I64
        }
    unsafe describe(&view, tensor.shape, dtype: dtype, bytes: tensor.byteCount)
    return unsafe view
}

/// Fills the caller's `view`, whose size says how much of it there is.
func fill(_ view: UnsafeMutablePointer<da_tensor>?, _ tensor: () throws(DiffError) -> ResultTensor) throws(DiffError)
    -> Int32
{
    let target = try unsafe out(view, "view")
    let size = try unsafe decode(UnsafePointer(target)).struct_size
    var filled = try unsafe describedView(tensor())
    unsafe filled.struct_size = size
    unsafe target.pointee = filled
    return DA_OK
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
