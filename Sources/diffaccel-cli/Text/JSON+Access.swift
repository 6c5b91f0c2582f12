import DiffCheckpoint

// Reading JSON that the library itself has made, where a missing member means "not told".
extension JSON {
    /// The member `key` of an object.
    subscript(_ key: String) -> JSON? { if case .object(let members) = self { members[key] } else { nil } }
    /// The elements of a list.
    var asArray: [JSON]? { if case .array(let elements) = self { elements } else { nil } }
    /// The integer.
    var asInt: Int? { if case .integer(let value) = self { value } else { nil } }
    /// The object with another member.
    func with(_ key: String, _ value: JSON) -> JSON {
        guard case .object(var members) = self else { return self }
        members[key] = value
        return .object(members)
    }
    /// The string.
    var asText: String? { if case .string(let value) = self { value } else { nil } }

    /// Prints the value on standard output.
    func print() { StandardOutput.put(serialized(pretty: true)) }
}
