public import DiffTensor

/// What is known of the settings of a kind of config file that nothing is computed with.
///
/// A setting of a checkpoint is honoured, refused by name, or known to change nothing: what a reader does not ask for must stand here
/// or is reported as unknown.
public struct ConfigRules: Sendable {
    /// What holds for one or more keys.
    public enum Entry: Sendable {
        /// They change nothing that is computed here, and why.
        case harmless([String], StaticString)
        /// Of this key only some values are supported, or lists of them: those that mean nothing here. What others mean, in a few words.
        case only(String, [JSON], StaticString)
    }

    private enum Rule: Sendable {
        case harmless
        case only([JSON], StaticString)
    }

    private let rules: [String: Rule]

    /// The rules of all `lists`; of two for the same key the later one holds.
    public init(_ lists: [Entry]...) {
        var rules: [String: Rule] = [:]
        func add(_ key: String, _ rule: Rule) {
            // Members of an object `model`, or of the text tower of a model of two, count as those beside it.
            rules.put(rule, for: key)
            rules.put(rule, for: "model.\(key)")
            rules.put(rule, for: "text_config.\(key)")
        }
        for list in lists.each {
            for entry in list.each {
                switch entry {
                case .harmless(let keys, _): for key in keys.each { add(key, .harmless) }
                case .only(let key, let values, let meaning): add(key, .only(values, meaning))
                }
            }
        }
        self.rules = rules
    }

    /// Throws `unsupported`, naming key, value and remedy, when a member of `object` has a value that would change results.
    public func refuse(_ object: JSONObject) throws(DiffError) {
        for key in object.keys.each {
            guard case .only(let values, let meaning)? = rules[key], let found = object.members[key], found != .null,
                !Self.accepts(found, values)
            else { continue }
            let wanted = values.isEmpty ? "null" : values.map(\.summary).joined(separator: " or ")
            throw DiffError(
                .unsupported,
                "\(object.place(of: key)): \(found.summary): \(meaning), which this library does not do; only \(wanted) is "
                    + "supported. If the weights were made without it, pass the config with that value")
        }
    }

    private static func accepts(_ found: JSON, _ values: [JSON]) -> Bool {
        if case .array(let elements) = found, !values.isEmpty { return elements.allSatisfy { accepts($0, values) } }
        return values.each.contains { $0.means(found) }
    }

    /// Places of `object`, which has a record, that were not asked for and no rule covers.
    public func unknown(in object: JSONObject) -> [String] {
        object.unread.each.filter { rules[$0] == nil }
    }
}

extension JSON {
    /// Whether both say the same: 0 is 0.0.
    fileprivate func means(_ other: JSON) -> Bool {
        if let a = asDouble, let b = other.asDouble { return a == b }
        return self == other
    }
}
