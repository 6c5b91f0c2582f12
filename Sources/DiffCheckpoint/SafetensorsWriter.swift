public import DiffTensor

/// Writes safetensors files in one canonical form: the same tensors give the same bytes.
///
/// The table is sorted by name, the header padded with spaces to 8 bytes. Elements of wider types come first, so that
/// every tensor starts at a multiple of its element size.
public enum SafetensorsWriter {
    /// Writes `tensors` (f32, f16 or bf16) and the strings `metadata` as the file `path`, atomically
    /// (``AtomicFile``).
    ///
    /// Throws `invalidArgument` for names that no reader would take, `internal` for tensors without memory, `io`.
    public static func write(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String
    ) throws(DiffError) {
        let file = try AtomicFile(path: path)
        try unsafe write(tensors, metadata: metadata, named: path) { (bytes) throws(DiffError) in
            try unsafe file.write(bytes)
        }
        try file.commit()
    }

    /// Gives `sink` the bytes of such a file, piece by piece; `name` names it in errors.
    public static func write(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], named name: String,
        sink: (UnsafeRawBufferPointer) throws(DiffError) -> Void
    ) throws(DiffError) {
        let contents = tensors.withValues { (dtype: $0.dtype, shape: $0.shape) }
        try unsafe write(contents, metadata, name, sink) { (tensor) throws(DiffError) in
            guard let tensor = tensors[tensor] else { throw DiffError(.internal, "\(name): no tensor \"\(tensor)\"") }
            return tensor
        }
    }

    /// The same with tensors of the given types and shapes, each asked of `load` when its turn comes: one is in memory at a time.
    public static func write(
        _ contents: [String: (dtype: DType, shape: Shape)], metadata: [String: String] = [:], to path: String,
        load: (String) throws(DiffError) -> Tensor
    ) throws(DiffError) {
        let file = try AtomicFile(path: path)
        try unsafe write(
            contents, metadata, path, { (bytes) throws(DiffError) in try unsafe file.write(bytes) }, load)
        try file.commit()
    }

    private static func write(
        _ contents: [String: (dtype: DType, shape: Shape)], _ metadata: [String: String], _ path: String,
        _ sink: (UnsafeRawBufferPointer) throws(DiffError) -> Void, _ load: (String) throws(DiffError) -> Tensor
    ) throws(DiffError) {
        let (header, order) = try layout(contents, metadata: metadata, path: path)
        try unsafe header.withUnsafeBufferPointer { (bytes) throws(DiffError) in
            try unsafe sink(UnsafeRawBufferPointer(bytes))
        }
        for name in order.each {
            let tensor = try load(name)
            guard let expected = contents[name], tensor.dtype == expected.dtype, tensor.shape == expected.shape else {
                throw DiffError(.internal, "\(path): tensor \"\(name)\" is not what was announced")
            }
            guard tensor.byteCount > 0 else { continue }
            guard let start = unsafe tensor.raw else {
                throw DiffError(.internal, "\(path): tensor \"\(name)\" has no memory")
            }
            try unsafe sink(UnsafeRawBufferPointer(start: start, count: tensor.byteCount))
        }
    }

    /// The bytes before the elements, and the names in the order of their elements.
    static func layout(
        _ tensors: [String: (dtype: DType, shape: Shape)], metadata: [String: String], path: String
    ) throws(DiffError) -> (header: [UInt8], order: [String]) {
        guard tensors.count <= Limits.tensors else {
            throw DiffError(
                .invalidArgument, "\(path): \(tensors.count) tensors; at most \(Limits.tensors) are written")
        }
        let order = tensors.sorted { a, b in
            a.value.dtype.size == b.value.dtype.size
                ? JSON.precedes(a.key, b.key) : a.value.dtype.size > b.value.dtype.size
        }
        var table: [String: JSON] = [:]
        var end = 0
        for (name, tensor) in order.each {
            guard !name.isEmpty, name.utf8.count <= Limits.nameBytes, !name.utf8.contains(0), name != "__metadata__"
            else { throw DiffError(.invalidArgument, "\(path): \"\(name.prefix(100))\" cannot be a tensor's name") }
            guard let next = Checked.add(end, tensor.shape.count &* tensor.dtype.size) else {
                throw DiffError(.invalidArgument, "\(path): the tensors are too large for one file")
            }
            let entry: [String: JSON] = [
                "dtype": .string(tensor.dtype.name), "shape": .array(tensor.shape.dims.each.map(JSON.integer)),
                "data_offsets": .array([.integer(end), .integer(next)]),
            ]
            table.put(.object(entry), for: name)
            end = next
        }
        var strings: [String: JSON] = [:]
        for key in Array(metadata.keys).each {
            guard let value = metadata[key], !key.utf8.contains(0), !value.utf8.contains(0) else {
                throw DiffError(.invalidArgument, "\(path): a metadata string holds NUL")
            }
            strings.put(.string(value), for: key)
        }
        if !strings.isEmpty { table.put(.object(strings), for: "__metadata__") }
        var text = Array(JSON.object(table).serialized().utf8)
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        guard text.count <= Limits.headerBytes else {
            throw DiffError(.invalidArgument, "\(path): a header of \(text.count) bytes would be too long")
        }
        var length = UInt64(text.count)
        var header: [UInt8] = []
        for _ in 0..<8 {
            header.append(UInt8(truncatingIfNeeded: length))
            length >>= 8
        }
        return (header + text, order.map(\.key))
    }
}
