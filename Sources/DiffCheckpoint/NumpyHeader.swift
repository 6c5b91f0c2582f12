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
    private static let types: [String: ElementType] = [
        "<f4": .f32, "<f2": .f16, "<f8": .f64, "|u1": .u8, "|i1": .i8, "|b1": .bool, "<u2": .u16, "<i2": .i16,
        "<u4": .u32,
        "<i4": .i32, "<u8": .u64, "<i8": .i64,
    ]

    /// Reads the head of `file`. Throws `format` with what is wrong, `unsupported` for other element types and Fortran order.
    init(_ file: FileBytes) throws(DiffError) {
        let head = try Self.bytes(file, at: 0, count: min(12, file.size))
        guard head.count == 12, Array(head.prefix(6)) == [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] else {
            throw DiffError(.format, "\(file.path): no NumPy file (its first bytes are not those of one)")
        }
        let version = head.at(6) ?? 0
        guard (1...3).contains(version) else {
            throw DiffError(.unsupported, "\(file.path): version \(version) of NumPy's format is not known")
        }
        let width = version == 1 ? 2 : 4
        var length = 0
        for index in Indices(below: width) {
            length |= Int(head.at(8 &+ index) ?? 0) << (8 &* index)
        }
        let start = 8 &+ width
        guard length <= Self.maxBytes, start &+ length <= file.size else {
            throw DiffError(.format, "\(file.path): a NumPy header of \(length) bytes in a file of \(file.size)")
        }
        let text = String(decoding: try Self.bytes(file, at: start, count: length), as: UTF8.self)
        var parser = Dictionary(text: Array(text.unicodeScalars), path: file.path)
        let found = try parser.parse()
        guard let type = Self.types[found.descr] else {
            throw DiffError(.unsupported, "\(file.path): elements of type \"\(found.descr)\" are not read")
        }
        guard !found.fortran else { throw DiffError(.unsupported, "\(file.path): Fortran order is not read") }
        self.type = type
        shape = try locating(file.path) { () throws(DiffError) in try Shape(found.extents) }
        offset = start &+ length
    }

    private static func bytes(_ file: FileBytes, at start: Int, count: Int) throws(DiffError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(0, count))
        var failure: DiffError?
        unsafe bytes.withUnsafeMutableBytes { buffer in
            do throws(DiffError) { try unsafe file.read(at: start, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
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
                guard scalar.value >= 0x20, scalar.value < 0x7f, value.unicodeScalars.count < 64 else {
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
            for (word, value) in [("True", true), ("False", false)] {
                let letters = Array(word.unicodeScalars)
                if letters.numbered.allSatisfy({ text.at(position &+ $0.offset) == $0.element }) {
                    position &+= letters.count
                    return value
                }
            }
            throw error("neither True nor False")
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
