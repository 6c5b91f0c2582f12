import DiffTensor

/// What the value of an option may be. Values are checked against it, and help, descriptions and error texts are made of it.
public indirect enum OptionType: Sendable, Equatable {
    /// `true` or `false`, also written 1 or 0.
    case flag
    /// A whole number in a range, also written 28.0.
    case integer(ClosedRange<Int>)
    /// A finite number in a range.
    case number(ClosedRange<Double>)
    /// Any string.
    case text
    /// One of these strings.
    case choice([String])
    /// A list of a number of elements in a range.
    case list(OptionType, ClosedRange<Int>)
    /// Whatever one of these takes.
    case either([OptionType])
    /// An object, described in words, whose members its reader checks.
    case object(String)

    /// A list of one or more.
    public static func list(_ element: OptionType) -> OptionType { .list(element, 1...Limits.configValues) }
    /// One value, or a list of one or more.
    public static func oneOrMore(_ element: OptionType) -> OptionType { .either([element, .list(element)]) }

    /// Whether a single text is of this type.
    public var takesText: Bool {
        switch self {
        case .text, .choice: true
        case .either(let types): types.each.contains { $0.takesText }
        case .flag, .integer, .number, .list, .object: false
        }
    }

    /// Where `value` is not of this type: the way to the wrong part of it, and that part; nil when it is.
    func fault(in value: JSON) -> (path: String, found: JSON)? {
        switch self {
        case .flag: Bool(option: value) == nil ? ("", value) : nil
        case .integer(let range): value.asInteger.map(range.contains) == true ? nil : ("", value)
        case .number(let range): value.asDouble.map(range.contains) == true ? nil : ("", value)
        case .text: String(option: value) == nil ? ("", value) : nil
        case .choice(let names): String(option: value).map(names.contains) == true ? nil : ("", value)
        case .list(let element, let counts): Self.fault(in: value, element, counts)
        case .either(let types): Self.fault(in: value, types)
        case .object: if case .object = value { nil } else { ("", value) }
        }
    }

    private static func fault(
        in value: JSON, _ element: OptionType, _ counts: ClosedRange<Int>
    ) -> (path: String, found: JSON)? {
        guard case .array(let elements) = value, counts.contains(elements.count) else { return ("", value) }
        for (index, one) in elements.numbered {
            if let fault = element.fault(in: one) { return ("[\(index)]\(fault.path)", fault.found) }
        }
        return nil
    }

    /// Of a list the wrong element is named, where some type takes lists at all.
    private static func fault(in value: JSON, _ types: [OptionType]) -> (path: String, found: JSON)? {
        var nearest: (path: String, found: JSON)? = ("", value)
        for type in types.each {
            guard let fault = type.fault(in: value) else { return nil }
            if !fault.path.isEmpty, isFurther(fault.path, than: nearest?.path ?? "") { nearest = fault }
        }
        return nearest
    }

    /// Of two ways into one value the longer, or the one to a later element: as far the value was of the type.
    private static func isFurther(_ a: String, than b: String) -> Bool {
        a.utf8.count == b.utf8.count ? JSON.precedes(b, a) : a.utf8.count > b.utf8.count
    }
}

extension OptionType: CustomStringConvertible {
    /// The type in words: `an integer in 1...1000`.
    public var description: String {
        switch self {
        case .flag: "true or false"
        case .integer(let range): "an integer\(Self.bounds(range))"
        case .number(let range): "a number\(Self.bounds(range))"
        case .text: "a string"
        case .choice(let names): "one of \(names.map { "\"\($0)\"" }.joined(separator: ", "))"
        case .list(let element, let counts):
            if case .list(let inner, _) = element {
                "a list of lists, each element \(inner)"
            } else {
                "a list\(counts.lowerBound == counts.upperBound ? " of \(counts.lowerBound)" : ""), each element \(element)"
            }
        case .either(let types): types.map(\.description).joined(separator: ", or ")
        case .object(let words): words
        }
    }

    /// Bounds that matter to a user; a range that exists for safety alone is not shown.
    private static func bounds(_ range: ClosedRange<Int>) -> String {
        switch (range.lowerBound == Int.min, range.upperBound == Int.max) {
        case (true, true): ""
        case (false, true): " from \(range.lowerBound) on"
        case (true, false): " up to \(range.upperBound)"
        case (false, false): " in \(range.lowerBound)...\(range.upperBound)"
        }
    }

    private static func bounds(_ range: ClosedRange<Double>) -> String {
        range == .finite ? "" : " in \(text(range.lowerBound))...\(text(range.upperBound))"
    }

    /// 1000 for 1000.0.
    private static func text(_ bound: Double) -> String { Checked.integer(bound).map(String.init) ?? "\(bound)" }

    /// The type in the words of JSON Schema (`type`, `minimum`, `enum`, `items`, …), from which a form can be made.
    public var schema: [String: JSON] {
        switch self {
        case .flag: ["type": .string("boolean")]
        case .integer(let range):
            Self.bounded(
                "integer", "minimum", range.lowerBound == Int.min ? nil : .integer(range.lowerBound),
                "maximum", range.upperBound == Int.max ? nil : .integer(range.upperBound))
        case .number(let range):
            Self.bounded(
                "number", "minimum", range == .finite ? nil : .number(range.lowerBound),
                "maximum", range == .finite ? nil : .number(range.upperBound))
        case .text: ["type": .string("string")]
        case .choice(let names): ["type": .string("string"), "enum": .array(names.map { .string($0) })]
        case .list(let element, let counts):
            Self.bounded(
                "array", "minItems", counts.lowerBound == 0 ? nil : .integer(counts.lowerBound),
                "maxItems", counts.upperBound == Int.max ? nil : .integer(counts.upperBound)
            ).merging(["items": .object(element.schema)]) { first, _ in first }
        case .either(let types): ["anyOf": .array(types.map { .object($0.schema) })]
        case .object: ["type": .string("object")]
        }
    }

    /// A type with those of its bounds that say something.
    private static func bounded(
        _ type: String, _ low: String, _ lower: JSON?, _ high: String, _ upper: JSON?
    ) -> [String: JSON] {
        var members: [String: JSON] = ["type": .string(type)]
        if let lower { members.put(lower, for: low) }
        if let upper { members.put(upper, for: high) }
        return members
    }
}

extension ClosedRange<Double> {
    /// All numbers that are finite.
    public static var finite: ClosedRange<Double> {
        -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    }
}
