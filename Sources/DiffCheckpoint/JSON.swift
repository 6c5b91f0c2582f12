import CJansson
public import DiffTensor

/// A JSON value.
///
/// Objects are compared without regard to the order of their members; the writer sorts them. Integers and other
/// numbers are told apart as they were written: `4` is an integer, `4.0` a number.
public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([String: JSON])

    /// Bounds on a text that comes from outside.
    public struct Limits: Sendable {
        /// Bytes of the text; never more than ``DiffCheckpoint/Limits/headerBytes``.
        public var bytes: Int
        /// Nesting; never more than ``DiffCheckpoint/Limits/jsonDepth``.
        public var depth: Int
        /// Values at all levels.
        public var values: Int
        /// Bytes of memory that reading may take, the text included.
        public var memory: Int

        /// Bounds; the defaults are those of a `config.json`.
        public init(
            bytes: Int = DiffCheckpoint.Limits.configBytes, depth: Int = DiffCheckpoint.Limits.jsonDepth,
            values: Int = DiffCheckpoint.Limits.configValues, memory: Int = .max
        ) {
            self.bytes = min(bytes, DiffCheckpoint.Limits.headerBytes)
            self.depth = min(depth, DiffCheckpoint.Limits.jsonDepth)
            self.values = values
            self.memory = memory
        }
    }

    /// Reads one JSON value (RFC 8259 in UTF-8: no duplicate names, no NUL, nothing after it) as other programs write it: there may be
    /// a mark of UTF-8 before it, and NaN, Infinity, -Infinity and integers beyond 64 bits are numbers.
    ///
    /// `source` names the text in errors. Throws `format` for bad JSON, with line and column, and for a passed limit.
    public init(
        parsing text: UnsafeRawBufferPointer, limits: Limits = Limits(), source: String
    ) throws(DiffError) {
        guard text.count <= limits.bytes else {
            throw DiffError(.format, "\(source): \(text.count) bytes of JSON; at most \(limits.bytes) are read")
        }
        let body = unsafe LooseJSON.body(text)
        let scan = unsafe JSONScan(body)
        do throws(DiffError) {
            try unsafe self.init(strictly: body, scan: scan, limits: limits, source: source)
        } catch {
            guard error.code == .format, let rewritten = unsafe LooseJSON.rewritten(body),
                Checked.sum(scan.memory, text.count) <= limits.memory
            else { throw error }
            self = try unsafe rewritten.withUnsafeBufferPointer { (raw) throws(DiffError) -> JSON in
                let raw = UnsafeRawBufferPointer(raw)
                return try unsafe JSON(
                    strictly: raw, scan: JSONScan(raw), limits: limits, source: source, isRewritten: true)
            }
        }
    }

    /// The same for a string.
    public init(parsing text: String, limits: Limits = Limits(), source: String) throws(DiffError) {
        // Before the copy; the same is said again of texts that come as bytes.
        guard text.utf8.count <= limits.bytes else {
            throw DiffError(.format, "\(source): \(text.utf8.count) bytes of JSON; at most \(limits.bytes) are read")
        }
        // Not `withUTF8`, whose closure cannot throw a typed error.
        let bytes = Array(text.utf8)
        self = try unsafe bytes.withUnsafeBufferPointer { (raw) throws(DiffError) -> JSON in
            try unsafe JSON(parsing: UnsafeRawBufferPointer(raw), limits: limits, source: source)
        }
    }

    /// Reads a text that was scanned already, to the letter of the standard. `isFile` says that it is the whole of a file, about which
    /// more can be told than about a part; `isRewritten` that ``LooseJSON/rewritten(_:)`` made it.
    init(
        strictly text: UnsafeRawBufferPointer, scan: JSONScan, limits: Limits, source: String, isFile: Bool = true,
        isRewritten: Bool = false
    ) throws(DiffError) {
        guard scan.depth <= limits.depth else {
            throw DiffError(.format, "\(source): JSON nested \(scan.depth) deep; at most \(limits.depth) are read")
        }
        guard scan.values <= limits.values else {
            throw DiffError(.format, "\(source): about \(scan.values) JSON values; at most \(limits.values) are read")
        }
        guard scan.memory <= limits.memory else {
            throw DiffError(
                .format,
                "\(source): reading this JSON could take \(scan.memory) bytes of memory; at most \(limits.memory) "
                    + "are spent on a file of this size")
        }
        guard let start = text.baseAddress, text.count > 0 else {
            throw DiffError(.format, "\(source): empty where JSON was expected; \(ForeignFormat.again)")
        }
        var error = json_error_t()
        let bytes = unsafe start.assumingMemoryBound(to: CChar.self)
        guard
            let root = unsafe json_load_padded(
                bytes, text.count, scan.padding, Int(JSON_REJECT_DUPLICATES), &error)
        else { throw unsafe Self.refusal(text, error, padding: scan.padding, source: source, isFile) }
        defer { unsafe json_decref(root) }
        guard unsafe json_array_size(root) == 2, let value = unsafe json_array_get(root, 1) else {
            throw DiffError(.format, "\(source): bad JSON: one value expected")
        }
        self = try unsafe Self.converted(value, depth: 0, source: source, isRewritten)
    }

    /// Why `text` is not read, with the remedy where there is one.
    private static func refusal(
        _ text: UnsafeRawBufferPointer, _ error: json_error_t, padding: Int, source: String, _ isFile: Bool
    ) -> DiffError {
        // The parser has a text for everything but a refused allocation.
        guard error.line >= 0 else { return DiffError(.outOfMemory, "\(source): no memory for reading JSON") }
        let start = unsafe UnsafeRawBufferPointer(
            start: text.baseAddress, count: min(text.count, ForeignFormat.prefixBytes))
        if isFile, unsafe LooseJSON.isWide(start) {
            return DiffError(.format, "\(source): bad JSON: the text is in UTF-16 or UTF-32; save it as UTF-8")
        }
        if isFile, let other = unsafe ForeignFormat(start, fileSize: text.count), !other.isJSON {
            return other.errorForJSON(source)
        }
        // Before the text stand the padding and its five signs: see `json_load_padded`.
        if let fault = unsafe LooseJSON.fault(text, before: Int(error.position) &- padding &- 5) {
            return DiffError(.format, "\(source): \(fault)")
        }
        let what = unsafe withUnsafeBytes(of: error.text) { unsafe String(untilNUL: $0) }
        let place = "line \(error.line &- 1), column \(error.column)"
        return DiffError(.format, "\(source): bad JSON at \(place): \(what)")
    }

    // Recursion ends at `Limits.jsonDepth`: the scan has bounded the nesting, and the guard here does again.
    private static func converted(
        _ value: UnsafeMutablePointer<json_t>, depth: Int, source: String, _ isRewritten: Bool
    ) throws(DiffError) -> JSON {
        guard depth <= DiffCheckpoint.Limits.jsonDepth else { throw DiffError(.format, "\(source): JSON too deep") }
        switch unsafe value.pointee.type {
        case JSON_NULL: return .null
        case JSON_TRUE: return .bool(true)
        case JSON_FALSE: return .bool(false)
        case JSON_INTEGER:
            guard let integer = unsafe Int(exactly: json_integer_value(value)) else {
                throw DiffError(.format, "\(source): an integer beyond 64 bits")
            }
            return .integer(integer)
        case JSON_REAL: return .number(unsafe json_real_value(value))
        case JSON_STRING:
            let start = unsafe UnsafeRawPointer(json_string_value(value))
            let bytes = unsafe UnsafeRawBufferPointer(
                start: start, count: start == nil ? 0 : json_string_length(value))
            let string = unsafe String(decoding: bytes, as: UTF8.self)
            if isRewritten, let number = LooseJSON.number(string) { return .number(number) }
            return .string(string)
        case JSON_ARRAY:
            let count = unsafe json_array_size(value)
            var elements: [JSON] = []
            elements.reserveCapacity(count)  // of blocks that exist: the scan has bounded them
            for index in Indices(below: count) {
                guard let element = unsafe json_array_get(value, index) else { continue }
                elements.append(try unsafe converted(element, depth: depth + 1, source: source, isRewritten))
            }
            return .array(elements)
        case JSON_OBJECT:
            var members: [String: JSON] = [:]
            members.reserveCapacity(unsafe json_object_size(value))
            var position = unsafe json_object_iter(value)
            while let here = unsafe position {
                if let key = unsafe json_object_iter_key(here), let member = unsafe json_object_iter_value(here) {
                    let bytes = unsafe UnsafeRawBufferPointer(start: key, count: json_object_iter_key_len(here))
                    let name = unsafe String(decoding: bytes, as: UTF8.self)
                    let value = try unsafe converted(member, depth: depth + 1, source: source, isRewritten)
                    if isRewritten, let number = LooseJSON.number(name) {
                        throw DiffError(.format, "\(source): bad JSON: \(number) where a name in quotes was expected")
                    }
                    // The parser compares bytes, Swift compares characters: composed and decomposed are one name.
                    guard members.put(value, for: name) == nil else {
                        throw DiffError(
                            .format, "\(source): \"\(name.prefix(100))\" is there twice in Unicode's terms")
                    }
                }
                unsafe position = json_object_iter_next(value, here)
            }
            return .object(members)
        default: throw DiffError(.internal, "\(source): a JSON value of unknown kind")
        }
    }
}
