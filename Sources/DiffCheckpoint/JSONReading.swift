public import DiffTensor

/// A JSON object read with types, bounds and errors that name the place:
/// `config.json: model.hidden_size: expected an integer in 1...65536, found "abc"`.
///
/// A member that is `null` counts as absent: published configurations write `null` for "not used".
public struct JSONObject: Sendable {
    /// The file or option the object came from.
    public let source: String
    /// Names from the outermost object to this one, joined by dots; empty for the outermost.
    public let path: String
    /// The members as they are.
    public let members: [String: JSON]
    /// Where it is noted what is asked for; nil: nowhere.
    public let record: KeyRecord?

    /// The object `value`. Throws `format` when it is something else.
    public init(_ value: JSON, source: String, path: String = "", record: KeyRecord? = nil) throws(DiffError) {
        guard case .object(let members) = value else {
            throw DiffError(.format, "\(Self.place(source, path)): expected an object, found \(value.summary)")
        }
        (self.source, self.path, self.members, self.record) = (source, path, members, record)
        record?.noteObject(path)
    }

    /// The file or option and the path in it, for messages about the object as a whole.
    public var place: String { Self.place(source, path) }

    private static func place(_ source: String, _ path: String) -> String {
        path.isEmpty ? source : "\(source): \(path)"
    }

    /// Names of the members, sorted.
    public var keys: [String] { members.keys.sorted(by: JSON.precedes) }

    /// Whether `key` is there and not null.
    public func has(_ key: String) -> Bool { value(key) != nil }

    /// The member `key`, or nil when it is absent or null.
    public func value(_ key: String) -> JSON? {
        record?.note(joined(key))
        guard let value = members[key], value != .null else { return nil }
        return value
    }

    /// A `format` error about the member `key`.
    public func error(_ key: String, _ text: String) -> DiffError {
        DiffError(.format, "\(place(of: key)): \(text)")
    }

    /// Throws `format` when a member has a name that is not in `known`: a misspelt option must not be ignored.
    public func allow(only known: [String]) throws(DiffError) {
        for key in keys.each where !known.contains(key) {
            throw error(key, "unknown name; known here: \(known.joined(separator: ", "))")
        }
    }

    // MARK: Scalars

    /// An integer within `range`, also when it is written as 28.0; `fallback` when absent.
    public func integer(
        _ key: String, in range: ClosedRange<Int>, default fallback: Int? = nil
    ) throws(DiffError) -> Int {
        if let value = try optionalInteger(key, in: range) { return value }
        return try orMissing(key, fallback, Self.text(range))
    }

    /// The same, or nil when absent.
    public func optionalInteger(_ key: String, in range: ClosedRange<Int>) throws(DiffError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let integer = value.asInteger, range.contains(integer) else {
            throw mismatch(key, Self.text(range), value)
        }
        return integer
    }

    /// A finite number within `range`, written with or without fraction; `fallback` when absent.
    public func number(
        _ key: String, in range: ClosedRange<Double>, default fallback: Double? = nil
    ) throws(DiffError) -> Double {
        if let value = try optionalNumber(key, in: range) { return value }
        return try orMissing(key, fallback, Self.text(range))
    }

    /// The same, or nil when absent.
    public func optionalNumber(_ key: String, in range: ClosedRange<Double>) throws(DiffError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.asDouble, range.contains(number) else {
            throw mismatch(key, Self.text(range), value)
        }
        return number
    }

    /// `true` or `false`, also when it is written as 1 or 0; `fallback` when absent.
    public func bool(_ key: String, default fallback: Bool? = nil) throws(DiffError) -> Bool {
        guard let value = value(key) else { return try orMissing(key, fallback, "true or false") }
        if case .bool(let flag) = value { return flag }
        guard let number = value.asInteger, (0...1).contains(number) else {
            throw mismatch(key, "true or false", value)
        }
        return number == 1
    }

    /// A string, one of `choices` when given; `fallback` when absent.
    public func string(
        _ key: String, oneOf choices: [String]? = nil, default fallback: String? = nil
    ) throws(DiffError) -> String {
        if let value = try optionalString(key, oneOf: choices) { return value }
        return try orMissing(key, fallback, Self.text(choices))
    }

    /// The same, or nil when absent.
    public func optionalString(_ key: String, oneOf choices: [String]? = nil) throws(DiffError) -> String? {
        guard let value = value(key) else { return nil }
        guard case .string(let string) = value, choices?.contains(string) ?? true else {
            throw mismatch(key, Self.text(choices), value)
        }
        return string
    }

    // MARK: Lists

    /// A list of anything; `fallback` when absent.
    public func array(_ key: String, default fallback: [JSON]? = nil) throws(DiffError) -> [JSON] {
        guard let value = value(key) else { return try orMissing(key, fallback, "a list") }
        guard case .array(let elements) = value else { throw mismatch(key, "a list", value) }
        return elements
    }

    /// A list of integers within `range`; `fallback` when absent.
    public func integers(
        _ key: String, in range: ClosedRange<Int>, default fallback: [Int]? = nil
    ) throws(DiffError) -> [Int] {
        try list(key, fallback, Self.text(range)) {
            guard let integer = $0.asInteger, range.contains(integer) else { return nil }
            return integer
        }
    }

    /// An integer within `range`, or a list of such; empty when absent.
    public func oneOrMoreIntegers(_ key: String, in range: ClosedRange<Int>) throws(DiffError) -> [Int] {
        if case .array? = value(key) { return try integers(key, in: range) }
        return try optionalInteger(key, in: range).map { [$0] } ?? []
    }

    /// A list of finite numbers within `range`; `fallback` when absent.
    public func numbers(
        _ key: String, in range: ClosedRange<Double>, default fallback: [Double]? = nil
    ) throws(DiffError) -> [Double] {
        try list(key, fallback, Self.text(range)) { $0.asDouble.flatMap { range.contains($0) ? $0 : nil } }
    }

    /// A list of strings, each one of `choices` when given; `fallback` when absent.
    public func strings(
        _ key: String, oneOf choices: [String]? = nil, default fallback: [String]? = nil
    ) throws(DiffError) -> [String] {
        try list(key, fallback, Self.text(choices)) {
            guard case .string(let string) = $0, choices?.contains(string) ?? true else { return nil }
            return string
        }
    }

    /// A list of objects; empty when absent.
    public func objects(_ key: String) throws(DiffError) -> [JSONObject] {
        var objects: [JSONObject] = []
        for (position, element) in try array(key, default: []).numbered {
            objects.append(try JSONObject(element, source: source, path: "\(joined(key))[\(position)]", record: record))
        }
        return objects
    }

    // MARK: Objects

    /// The object `key`. Throws `format` when it is absent.
    public func object(_ key: String) throws(DiffError) -> JSONObject {
        guard let object = try optionalObject(key) else { throw error(key, "missing; expected an object") }
        return object
    }

    /// The object `key`, or nil when absent.
    public func optionalObject(_ key: String) throws(DiffError) -> JSONObject? {
        guard let value = value(key) else { return nil }
        return try JSONObject(value, source: source, path: joined(key), record: record)
    }

    // MARK: Texts

    private func joined(_ key: String) -> String { Self.joined(path, key) }

    static func joined(_ path: String, _ key: String) -> String {
        let short = key.utf8.count > 100 ? String(key.prefix(60)) + "..." : key
        return path.isEmpty ? short : "\(path).\(short)"
    }

    /// The source and the path of the member `key`, for messages.
    public func place(of key: String) -> String { "\(source): \(joined(key))" }

    private func mismatch(_ key: String, _ expected: String, _ found: JSON) -> DiffError {
        error(key, "expected \(expected), found \(found.summary)")
    }

    private func orMissing<T: OptionValue>(
        _ key: String, _ fallback: T?, _ expected: String
    ) throws(DiffError) -> T {
        guard let fallback else { throw error(key, "missing; expected \(expected)") }
        record?.noteDefault(joined(key), fallback.json)
        return fallback
    }

    private func list<T: OptionValue>(
        _ key: String, _ fallback: [T]?, _ expected: String, _ element: (JSON) -> T?
    ) throws(DiffError) -> [T] {
        guard has(key) else { return try orMissing(key, fallback, "a list; of each element: \(expected)") }
        var elements: [T] = []
        for (position, value) in try array(key).numbered {
            guard let element = element(value) else { throw mismatch("\(key)[\(position)]", expected, value) }
            elements.append(element)
        }
        return elements
    }

    private static func text(_ range: ClosedRange<Int>) -> String {
        "an integer in \(range.lowerBound)...\(range.upperBound)"
    }

    private static func text(_ range: ClosedRange<Double>) -> String {
        "a number in \(range.lowerBound)...\(range.upperBound)"
    }

    private static func text(_ choices: [String]?) -> String {
        choices.map { "one of \($0.joined(separator: ", "))" } ?? "a string"
    }
}

extension JSON {
    /// The value as a finite number, if it is one.
    public var asDouble: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value.isFinite ? value : nil
        default: nil
        }
    }

    /// The value as an integer, if it is one: 28.0 is, 28.5 is not.
    public var asInteger: Int? {
        switch self {
        case .integer(let value): value
        // Up to 2^53 each integer has a number of its own.
        case .number(let value): value.magnitude <= 0x1p53 ? Int(exactly: value) : nil
        default: nil
        }
    }

    /// A short text of the value for errors.
    var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): String(value)
        case .number(let value): value.isFinite ? value.description : value.isNaN ? "NaN" : "an infinite number"
        case .string(let value): value.utf8.count > 100 ? "\"\(value.prefix(40))...\"" : "\"\(value)\""
        case .array(let elements): "a list of \(elements.count)"
        case .object: "an object"
        }
    }
}
