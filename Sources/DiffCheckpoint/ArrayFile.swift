public import DiffTensor

/// An array on disk of which rows are read as they are needed: what a network learns from, however large.
///
/// A `.npy` file, or a tensor of a safetensors file. The file stays open, and a row that cannot be read is an error of that
/// moment: the file may not change meanwhile. Used by any thread.
public final class ArrayFile: Sendable {
    /// The file.
    public let path: String
    /// Extents of the whole array; the first one counts the rows.
    public let shape: Shape
    /// Type of the elements as stored.
    public let type: ElementType
    private let file: FileBytes
    private let start: Int

    /// The file at `path`: a `.npy` file, or a safetensors file of which the tensor `name` is meant. Throws `io`, `format`, `unsupported`.
    public init(path: String, tensor name: String) throws(DiffError) {
        let file = try FileBytes(path: path)
        (self.path, self.file) = (path, file)
        if Self.isNumpy(path) {
            let header = try NumpyHeader(file)
            (shape, type, start) = (header.shape, header.type, header.offset)
        } else {
            let table = try TensorTable(file)
            guard let entry = table.info(name) else { throw DiffError(.format, "\(path): no tensor \"\(name)\"") }
            (shape, type, start) = (entry.shape, entry.type, entry.offset)
        }
        guard shape.rank > 0, shape[0] > 0 else { throw DiffError(.shape, "\(path): no rows in an array of \(shape)") }
        guard let bytes = type.bytes(count: shape.count), let end = Checked.add(start, bytes), end <= file.size else {
            throw DiffError(
                .format, "\(path): \(shape) elements of type \(type.rawValue) do not fit a file of \(file.size) bytes")
        }
    }

    /// Whether a path names a `.npy` file.
    public static func isNumpy(_ path: String) -> Bool { path.utf8.count > 4 && path.hasSuffix(".npy") }

    /// Rows, and elements of one.
    public var rows: Int { shape[0] }
    /// Elements of one row.
    public var rowCount: Int { Checked.divide(shape.count, shape[0]) ?? 0 }

    /// Room for the bytes of `count` elements before they are converted; nil when they are f32 already.
    public func scratch(_ count: Int, budget: MemoryBudget?) throws(DiffError) -> Storage? {
        guard type != .f32, let bytes = type.bytes(count: count) else { return nil }
        return try Storage(byteCount: bytes, budget: budget)
    }

    /// Writes elements `first ..< first + out.shape.count` of the array to `out`, as f32: floating-point numbers as they are, bytes
    /// (`U8`) from 0...255 to -1...1. `scratch` as ``scratch(_:budget:)`` gives it. Throws `io`, `unsupported`, `internal`.
    public func read(from first: Int, into out: Tensor, scratch: Storage?) throws(DiffError) {
        let count = out.shape.count
        guard let target = unsafe out.floats else { return }
        guard first >= 0, let end = Checked.add(first, count), end <= shape.count,
            let skipped = type.bytes(count: first),
            let bytes = type.bytes(count: count)
        else { throw DiffError(.internal, "\(path): elements \(first)...+\(count) of \(shape.count)") }
        let at = start &+ skipped  // within the file: checked for the whole array
        if type == .f32 {
            return try unsafe file.read(at: at, into: UnsafeMutableRawBufferPointer(start: target, count: bytes))
        }
        guard let scratch, let raw = unsafe scratch.base, scratch.byteCount >= bytes else {
            throw DiffError(.internal, "\(path): no room for \(bytes) bytes")
        }
        try unsafe file.read(at: at, into: UnsafeMutableRawBufferPointer(start: raw, count: bytes))
        switch type {
        case .f16, .bf16:
            guard let narrow = type.weight else { return }
            let wide = try Tensor(scratch, out.shape, narrow).widened(budget: nil)
            if let from = unsafe wide.floats { unsafe target.update(from: from, count: count) }
        case .f64:
            for index in Indices(below: count) {
                unsafe target[index] = Float(raw.loadUnaligned(fromByteOffset: index &* 8, as: Double.self))
            }
        case .u8:
            for index in Indices(below: count) {
                unsafe target[index] = Float(raw.loadUnaligned(fromByteOffset: index, as: UInt8.self)) / 127.5 - 1
            }
        default: throw unreadable()
        }
    }

    /// Types whose elements ``read(from:into:scratch:)`` takes.
    public static let readable: [ElementType] = [.f32, .f16, .bf16, .f64, .u8]

    /// The error for elements of other types.
    public func unreadable() -> DiffError {
        DiffError(.unsupported, "\(path): \(type.rawValue) elements cannot be states (F32, F16, BF16, F64, U8 can)")
    }

    /// Elements `first ..< first + count` as integers. Throws `io`, `unsupported` when they are none, `internal` outside of the array.
    public func integers(from first: Int, count: Int) throws(DiffError) -> [Int] {
        guard first >= 0, count >= 0, let end = Checked.add(first, count), end <= shape.count,
            let skipped = type.bytes(count: first), let bytes = type.bytes(count: count)
        else { throw DiffError(.internal, "\(path): elements \(first)...+\(count) of \(shape.count)") }
        let block = try file.block(at: start &+ skipped, count: bytes, budget: nil)
        return try unsafe block.withBytes { (bytes) throws(DiffError) in
            try unsafe TensorTable.integers(bytes, type, path)
        }
    }

    /// All elements as integers. Throws `unsupported` when they are none, `shape` for more than ``Limits/arrayElements``.
    public func integers() throws(DiffError) -> [Int] {
        guard shape.count <= Limits.arrayElements else {
            throw DiffError(.shape, "\(path): \(shape.count) integers are too many")
        }
        return try integers(from: 0, count: shape.count)
    }
}
