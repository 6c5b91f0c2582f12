public import DiffTensor

/// One option of a request, a plan entry or a training, declared once: what checks it, reads it, explains it in errors, shows it in help
/// and describes it to a host is made of this.
public struct OptionSpec: Sendable, Equatable {
    /// What holds when the option is not given.
    public enum Absence: Sendable, Equatable {
        /// The option must be given.
        case required
        /// This value.
        case value(JSON)
        /// What these words say; the reader decides.
        case words(String)
    }

    /// The name, in lower case with underscores.
    public let name: String
    /// What its value may be.
    public let type: OptionType
    /// What holds without it.
    public let absence: Absence
    /// What it does, in a sentence.
    public let summary: String

    /// An option that must be given.
    @inline(never)
    public init(_ name: String, _ type: OptionType, _ summary: String) {
        (self.name, self.type, absence, self.summary) = (name, type, .required, summary)
    }

    /// An option with a default value.
    @inline(never)
    public init(_ name: String, _ type: OptionType, default value: JSON, _ summary: String) {
        (self.name, self.type, absence, self.summary) = (name, type, .value(value), summary)
    }

    /// An option without which what `words` say holds.
    @inline(never)
    public init(_ name: String, _ type: OptionType, absent words: String, _ summary: String) {
        (self.name, self.type, absence, self.summary) = (name, type, .words(words), summary)
    }

    /// The default in words; nil when the option is required.
    public var defaultText: String? {
        switch absence {
        case .required: nil
        case .value(let value): value.serialized()
        case .words(let words): words
        }
    }

    /// The option as JSON: `name`, `description`, its type in the words of JSON Schema, `default` where it is a value,
    /// `default_text` otherwise, and `required`.
    public var json: JSON {
        var members = type.schema
        members.put(.string(name), for: "name")
        members.put(.string(summary), for: "description")
        switch absence {
        case .required: members.put(.bool(true), for: "required")
        case .value(let value): members.put(value, for: "default")
        case .words(let words): members.put(.string(words), for: "default_text")
        }
        return .object(members)
    }

    /// The option as a line of help: `steps: an integer in 1...1000 (default: 50). Number of sampling steps.`
    public var helpLine: String {
        "\(name): \(type)\(defaultText.map { " (default: \($0))" } ?? " (required)"). \(summary)"
    }
}

/// The members of a JSON object, checked against the options that are declared for it.
public struct Options: Sendable {
    /// The object itself, for errors that name the place.
    public let json: JSONObject
    private let table: [OptionSpec]
    private let code: DiffError.Code

    /// Checks all of `json` against `table`: unknown names, missing ones, types and ranges. Errors have the given code, and tell which
    /// option may have been meant; a `comment` is passed over.
    public init(_ json: JSONObject, _ table: [OptionSpec], code: DiffError.Code = .format) throws(DiffError) {
        (self.json, self.table, self.code) = (json, table, code)
        try checkNames()
        for option in table.each { try check(option) }
    }

    @inline(never)
    private func checkNames() throws(DiffError) {
        var names: [String] = []
        for option in table.each { names.append(option.name) }
        for key in json.keys.each where key != "comment" && !names.contains(key) {
            let hint = Spelling.suggestion(for: key, among: names)
            let known = hint.isEmpty ? "; there are \(names.joined(separator: ", "))" : hint
            throw DiffError(code, "\(json.place): no option \"\(key.prefix(60))\"\(known)")
        }
    }

    @inline(never)
    private func check(_ option: OptionSpec) throws(DiffError) {
        guard let value = json.value(option.name) else {
            guard case .required = option.absence else { return }
            throw DiffError(
                code, "\(json.place): the option \"\(option.name)\" is missing: \(option.type). \(option.summary)")
        }
        if let fault = option.type.fault(in: value) {
            throw error("\(option.name)\(fault.path)", "expected \(option.type), found \(fault.found.summary)")
        }
    }

    /// An error about the option `name`, with the code of the whole.
    public func error(_ name: String, _ text: String) -> DiffError {
        DiffError(code, "\(json.place(of: name)): \(text)")
    }

    /// Whether there is an option of that name: a form may have it or not.
    public func declares(_ name: String) -> Bool { table.each.contains { $0.name == name } }

    /// Whether the option is given.
    public func has(_ name: String) -> Bool { json.has(name) }

    /// The value given, or the default; nil when there is neither.
    @inline(never)
    public func optional<Value: OptionValue>(_ name: String, as type: Value.Type = Value.self) throws(DiffError)
        -> Value?
    {
        guard let option = table.each.first(where: { $0.name == name }) else {
            throw DiffError(.internal, "no option \"\(name)\" is declared")
        }
        var found = json.value(name)
        if found == nil, case .value(let value) = option.absence, value != .null { found = value }
        guard let found else { return nil }
        guard let value = Value(option: found) else {
            throw DiffError(.internal, "the option \"\(name)\" is declared as \(option.type), and read as \(type)")
        }
        return value
    }

    /// The value given, or the default.
    @inline(never)
    public func get<Value: OptionValue>(_ name: String, as type: Value.Type = Value.self) throws(DiffError) -> Value {
        guard let value = try optional(name, as: type) else {
            throw DiffError(.internal, "the option \"\(name)\" has no default")
        }
        return value
    }
}
