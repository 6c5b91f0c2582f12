import DiffTensor

/// The head of a NumPy `.npy` file: element type, order and extents.
///
/// Source: NumPy's format specification, versions 1.0 to 3.0. The dictionary is read strictly: the three known keys, once each.
struct NumpyHeader: Equatable {
    /// Type of the elements.
    let type: ElementType
    /// Extents, slowest axis first.
    let shape: Shape
    /// First byte of the elements.
    let offset: Int

    /// No header is longer than this: NumPy pads to 64 bytes, and eight extents take a few hundred.
    private static let maxBytes = 65_536
    private static let types: [(name: String, type: ElementType)] = [
        ("<f4", .f32), ("<f2", .f16), ("<f8", .f64), ("|u1", .u8), ("|i1", .i8), ("|b1", .bool), ("<u2", .u16),
        ("<i2", .i16), ("<u4", .u32), ("<i4", .i32), ("<u8", .u64), ("<i8", .i64),
    ]

    /// Bytes up to the text, in the versions with the longer length.
    private static let headBytes = 12
    private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    /// Reads the head of `file`. Throws `format` with what is wrong, `unsupported` for other element types and Fortran order.
    init(_ file: FileBytes) throws(DiffError) {
        let head = try file.block(at: 0, count: min(Self.headBytes, file.size), budget: nil)
        let (start, length) = try unsafe head.withBytes { (head) throws(DiffError) in try unsafe Self.place(head, file)
        }
        let text = try file.block(at: start, count: length, budget: nil)
        let scalars = try unsafe text.withBytes { (bytes) throws(DiffError) in
            Indices(below: bytes.count).map { unsafe Unicode.Scalar(bytes[$0]) }
        }
        var parser = Dictionary(text: scalars, path: file.path)
        let found = try parser.parse()
        guard let type = Self.types.each.first(where: { $0.name == found.descr })?.type else {
            throw DiffError(
                .unsupported,
                "\(file.path): elements of type \"\(found.descr)\" are not read: save astype(\"<f4\") of it")
        }
        guard !found.fortran else {
            throw DiffError(.unsupported, "\(file.path): Fortran order is not read: save numpy.ascontiguousarray of it")
        }
        self.type = type
        shape = try locating(file.path) { () throws(DiffError) in try Shape(found.extents) }
        offset = start &+ length
    }

    /// Where the text begins and how long it is, from the first bytes of the file.
    private static func place(
        _ head: UnsafeRawBufferPointer, _ file: FileBytes
    ) throws(DiffError) -> (start: Int, length: Int) {
        guard head.count == headBytes, unsafe ForeignFormat.has(magic, in: head) else {
            let prefix = try file.block(at: 0, count: min(ForeignFormat.prefixBytes, file.size), budget: nil)
            let found = try unsafe prefix.withBytes { (bytes) throws(DiffError) in
                unsafe ForeignFormat(bytes, fileSize: file.size)
            }
            throw DiffError(
                .format,
                "\(file.path): no NumPy file (its first bytes are not those of one)"
                    + (found.map { ": \($0.name)" } ?? ""))
        }
        let version = unsafe head[6]
        guard (1...3).contains(version) else {
            throw DiffError(.unsupported, "\(file.path): version \(version) of NumPy's format is not known")
        }
        let width = version == 1 ? 2 : 4
        var length = 0
        for index in Indices(below: width) { unsafe length |= Int(head[8 &+ index]) &<< (8 &* index) }
        let start = 8 &+ width
        guard length <= maxBytes, start &+ length <= file.size else {
            throw DiffError(.format, "\(file.path): a NumPy header of \(length) bytes in a file of \(file.size)")
        }
        return (start, length)
    }

    /// A Python dictionary with the keys `descr`, `fortran_order` and `shape`.
    private struct Dictionary {
        let text: [Unicode.Scalar]
        let path: String
        var position = 0

        init(text: [Unicode.Scalar], path: String) { (self.text, self.path) = (text, path) }

        mutating func parse() throws(DiffError) -> (descr: String, fortran: Bool, extents: [Int]) {
            var (descr, fortran, extents): (String?, Bool?, [Int]?) = (nil, nil, nil)
            try expect("{")
            while !accept("}") {
                let key = try quoted()
                try expect(":")
                switch key {
                case "descr" where descr == nil: descr = try quoted()
                case "fortran_order" where fortran == nil: fortran = try flag()
                case "shape" where extents == nil: extents = try tuple()
                default: throw error("the key \"\(key)\"")
                }
                guard accept(",") else {
                    try expect("}")
                    break
                }
            }
            skip()
            guard position == text.count, let descr, let fortran, let extents else {
                throw error("not the three keys descr, fortran_order and shape alone")
            }
            return (descr, fortran, extents)
        }

        private func error(_ what: String) -> DiffError {
            DiffError(.format, "\(path): NumPy header: \(what) at character \(position)")
        }

        private mutating func skip() {
            while let scalar = text.at(position), scalar == " " || scalar == "\n" { position &+= 1 }
        }

        private mutating func accept(_ scalar: Unicode.Scalar) -> Bool {
            skip()
            guard text.at(position) == scalar else { return false }
            position &+= 1
            return true
        }

        private mutating func expect(_ scalar: Unicode.Scalar) throws(DiffError) {
            guard accept(scalar) else { throw error("no \"\(scalar)\"") }
        }

        private mutating func quoted() throws(DiffError) -> String {
            skip()
            guard let quote = text.at(position), quote == "'" || quote == "\"" else { throw error("no text") }
            position &+= 1
            var value = ""
            while let scalar = text.at(position), scalar != quote {
                guard scalar.value >= 0x20, scalar.value < 0x7f, value.utf8.count < 64 else {
                    throw error("a text that is none")
                }
                value.unicodeScalars.append(scalar)
                position &+= 1
            }
            guard accept(quote) else { throw error("a text without end") }
            return value
        }

        private mutating func flag() throws(DiffError) -> Bool {
            skip()
            if accept(word: ["T", "r", "u", "e"]) { return true }
            if accept(word: ["F", "a", "l", "s", "e"]) { return false }
            throw error("neither True nor False")
        }

        private mutating func accept(word: [Unicode.Scalar]) -> Bool {
            for (offset, scalar) in word.numbered where text.at(position &+ offset) != scalar { return false }
            position &+= word.count
            return true
        }

        private mutating func tuple() throws(DiffError) -> [Int] {
            var extents: [Int] = []
            try expect("(")
            while !accept(")") {
                extents.append(try number())
                guard extents.count <= Shape.maxRank else { throw error("more than \(Shape.maxRank) extents") }
                guard accept(",") else {
                    try expect(")")
                    break
                }
            }
            return extents
        }

        private mutating func number() throws(DiffError) -> Int {
            skip()
            let start = position
            var value = 0
            while let scalar = text.at(position), scalar.value >= 0x30, scalar.value <= 0x39 {
                guard let tens = Checked.multiply(value, 10),
                    let next = Checked.add(tens, Int(scalar.value) &- 0x30)
                else { throw error("an extent that is too large") }
                value = next
                position &+= 1
            }
            guard position > start else { throw error("no number") }
            return value
        }
    }
}
