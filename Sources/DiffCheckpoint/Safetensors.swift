public import DiffTensor

/// One tensor of a safetensors file, checked: its bytes lie within the file and are exactly what its shape needs.
public struct TensorEntry: Sendable, Equatable {
    /// Name in the file.
    public let name: String
    /// Element type in the file.
    public let type: ElementType
    /// Extents.
    public let shape: Shape
    /// First byte, counted from the start of the file.
    public let offset: Int
    /// Bytes of the elements.
    public let byteCount: Int
}

/// The validated header of a safetensors file: 8 bytes of length, a JSON table, then the elements without gaps.
///
/// Refuses whatever the reference library refuses, and besides: bytes before `{`, duplicate names, NUL or empty
/// names, more than 8 axes, tensors of 2^48 elements, and everything beyond ``Limits``.
public struct SafetensorsHeader: Sendable {
    /// The tensors, in the order of their bytes.
    public let entries: [TensorEntry]
    /// The `__metadata__` strings.
    public let metadata: [String: String]

    /// Bytes before the JSON text.
    static let prefixBytes = 8

    /// Reads and checks the header of `file`. Throws `format`, `io` or `unsupported`.
    public init(_ file: FileBytes) throws(DiffError) {
        let start = try file.block(at: 0, count: min(file.size, ForeignFormat.prefixBytes), budget: nil)
        let length = try unsafe start.withBytes { (prefix) throws(DiffError) in
            try unsafe ForeignFormat.refuse(prefix, fileSize: file.size, source: file.path)
            return try unsafe Self.length(prefix, fileSize: file.size, source: file.path)
        }
        let text = try file.block(at: Self.prefixBytes, count: length, budget: nil)
        self = try unsafe text.withBytes { (text) throws(DiffError) in
            try unsafe SafetensorsHeader(text, fileSize: file.size, source: file.path)
        }
    }

    /// The length of the JSON text, from the first bytes of a file. Throws `format` unless it lies within the file.
    static func length(
        _ prefix: UnsafeRawBufferPointer, fileSize: Int, source: String
    ) throws(DiffError) -> Int {
        guard fileSize >= prefixBytes, prefix.count >= prefixBytes else {
            throw DiffError(.format, "\(source): \(fileSize) bytes are too few for a safetensors file")
        }
        let declared = unsafe UInt64(littleEndian: prefix.loadUnaligned(as: UInt64.self))
        #if CANARY
        // A length that fits no Int.
        if Canary.reader.isArmed { _ = Int(declared) }
        #endif
        guard let length = Int(exactly: declared), length > 0, length <= Limits.headerBytes else {
            throw DiffError(
                .format,
                "\(source): a header of \(declared) bytes; 1 to \(Limits.headerBytes) are allowed: no safetensors file")
        }
        guard length <= fileSize - prefixBytes else {
            throw DiffError(
                .format,
                "\(source): a header of \(length) bytes in a file of \(fileSize): cut off, or no safetensors file; "
                    + ForeignFormat.again)
        }
        return length
    }

    /// Checks the JSON text of a header against the size of its file.
    init(_ text: UnsafeRawBufferPointer, fileSize: Int, source: String) throws(DiffError) {
        guard unsafe text.first == UInt8(ascii: "{") else {
            throw DiffError(.format, "\(source): the header does not begin with {")
        }
        let scan = unsafe JSONScan(text)
        guard !scan.hasNegativeZero else { throw DiffError(.format, "\(source): -0 where a size was expected") }
        let limits = JSON.Limits(
            bytes: Limits.headerBytes, values: .max, memory: Limits.parseMemory(fileSize: fileSize))
        let json = try unsafe JSON(strictly: text, scan: scan, limits: limits, source: source, isFile: false)
        let object = try JSONObject(json, source: source)
        guard let dataStart = Checked.add(Self.prefixBytes, text.count), dataStart <= fileSize else {
            throw DiffError(.format, "\(source): the header is longer than the file")
        }
        guard object.members.count <= Limits.tensors else {
            throw DiffError(.format, "\(source): \(object.members.count) tensors; at most \(Limits.tensors) are read")
        }
        var entries: [TensorEntry] = []
        entries.reserveCapacity(object.members.count)
        var metadata: [String: String] = [:]
        for name in object.keys.each {  // sorted: the same file gives the same error
            guard let value = object.members[name] else { continue }
            if name == "__metadata__" {
                metadata = try Self.metadata(value, source)
            } else {
                let place = "\(source): tensor \"\(name.prefix(200))\""
                entries.append(try Self.entry(name, value, dataStart, place))
            }
        }
        entries.sort { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
        try Self.checkCover(entries, dataStart, fileSize, source)
        self.entries = entries
        self.metadata = metadata
    }

    private static func metadata(_ value: JSON, _ source: String) throws(DiffError) -> [String: String] {
        if value == .null { return [:] }
        let object = try JSONObject(value, source: source, path: "__metadata__")
        var strings: [String: String] = [:]
        for key in object.keys.each { strings.put(try object.string(key), for: key) }
        return strings
    }

    private static func entry(
        _ name: String, _ value: JSON, _ dataStart: Int, _ place: String
    ) throws(DiffError) -> TensorEntry {
        guard !name.isEmpty, name.utf8.count <= Limits.nameBytes, !name.utf8.contains(0) else {
            throw DiffError(.format, "\(place): a name has 1 to \(Limits.nameBytes) bytes and no NUL")
        }
        let object = try JSONObject(value, source: place)
        let typeName = try object.string("dtype")
        guard let type = ElementType(rawValue: typeName) else {
            throw DiffError(.format, "\(place): unknown dtype \"\(typeName.prefix(40))\"")
        }
        let shape: Shape
        do throws(DiffError) {
            shape = try Shape(sizes("shape", object))
        } catch { throw error.code == .shape ? DiffError(.format, "\(place): shape: \(error.message)") : error }
        let offsets = try sizes("data_offsets", object)
        guard offsets.count == 2, let begin = offsets.first, let end = offsets.last, begin <= end else {
            throw DiffError(.format, "\(place): data_offsets: expected [begin, end] with begin <= end")
        }
        guard let expected = type.bytes(count: shape.count) else {
            throw DiffError(.format, "\(place): \(shape.count) elements of \(typeName) do not fill whole bytes")
        }
        guard let byteCount = Checked.subtract(end, begin), byteCount == expected else {
            throw DiffError(
                .format,
                "\(place): shape \(shape) of \(typeName) needs \(expected) bytes, data_offsets span \(end &- begin)")
        }
        guard let offset = Checked.add(dataStart, begin), Checked.add(offset, byteCount) != nil else {
            throw DiffError(.format, "\(place): data_offsets beyond any file")
        }
        return TensorEntry(name: name, type: type, shape: shape, offset: offset, byteCount: byteCount)
    }

    /// Integers as the format has them: a configuration may also say 28.0.
    private static func sizes(_ key: String, _ object: JSONObject) throws(DiffError) -> [Int] {
        for element in try object.array(key).each {
            if case .number(let number) = element { throw object.error(key, "expected integers, found \(number)") }
        }
        return try object.integers(key, in: 0...Int.max)
    }

    /// Every byte after the header belongs to exactly one tensor: no overlap (a small file standing for a huge
    /// model), no hole and no tail (a second file hidden in the first).
    private static func checkCover(
        _ entries: [TensorEntry], _ dataStart: Int, _ fileSize: Int, _ source: String
    ) throws(DiffError) {
        var end = dataStart
        for entry in entries.each {
            let place = "\(source): tensor \"\(entry.name.prefix(200))\""
            guard entry.offset == end else {
                let what = entry.offset < end ? "overlaps the tensor before it" : "leaves a hole before it"
                throw DiffError(.format, "\(place): \(what), at byte \(entry.offset &- dataStart) of the data")
            }
            guard let next = Checked.add(end, entry.byteCount), next <= fileSize else {
                throw DiffError(
                    .format,
                    "\(place): ends beyond the file, which has \(fileSize) bytes: it was cut off; \(ForeignFormat.again)"
                )
            }
            end = next
        }
        guard end == fileSize else {
            throw DiffError(.format, "\(source): \(fileSize &- end) bytes after the last tensor belong to none")
        }
    }
}
