public import DiffTensor

extension Options {
    /// The value of an option that what `reason` says asks for. Throws the code of the whole when it is not given.
    public func needed<Value: OptionValue>(
        _ name: String, as type: Value.Type = Value.self, because reason: String
    ) throws(DiffError) -> Value {
        guard let value = try optional(name, as: type) else { throw error(name, "missing: \(reason)") }
        return value
    }

    /// One of the values of an enumeration, which the option declares as its choices; nil when there is neither a value nor a default.
    public func optionalCase<Value: RawRepresentable<String>>(
        _ name: String, of type: Value.Type = Value.self
    ) throws(DiffError) -> Value? {
        guard let text = try optional(name, as: String.self) else { return nil }
        guard let value = Value(rawValue: text) else {
            throw DiffError(.internal, "the option \"\(name)\" declares \"\(text)\", which \(type) has not")
        }
        return value
    }

    /// The same for an option that is required or has a default.
    public func getCase<Value: RawRepresentable<String>>(
        _ name: String, of type: Value.Type = Value.self
    ) throws(DiffError) -> Value {
        guard let value = try optionalCase(name, of: type) else {
            throw DiffError(.internal, "the option \"\(name)\" has no default")
        }
        return value
    }
}

extension OptionType {
    /// One of the values of an enumeration.
    public static func cases<Value: RawRepresentable<String> & CaseIterable>(of type: Value.Type) -> OptionType {
        .choice(Array(type.allCases).map { $0.rawValue })
    }
}

extension [OptionSpec] {
    /// The table as a list of JSON objects.
    public var json: JSON { .array(each.map(\.json)) }
}
