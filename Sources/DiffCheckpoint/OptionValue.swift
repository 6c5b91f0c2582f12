import DiffTensor

/// What the value of a setting can be read as, and written from.
public protocol OptionValue {
    /// The value as this type, if it is one.
    init?(option: JSON)
    /// The value as JSON.
    var json: JSON { get }
}

extension JSON: OptionValue {
    /// The value as this type; nil when it is of another.
    public init?(option: JSON) { self = option }
    /// The value as JSON.
    public var json: JSON { self }
}

extension Int: OptionValue {
    /// The value as this type; nil when it is of another.
    public init?(option: JSON) {
        guard let value = option.asInteger else { return nil }
        self = value
    }
    /// The value as JSON.
    public var json: JSON { .integer(self) }
}

extension UInt64: OptionValue {
    /// The value as this type; nil when it is of another.
    public init?(option: JSON) {
        guard let value = option.asInteger, let magnitude = UInt64(exactly: value) else { return nil }
        self = magnitude
    }
    /// JSON's integers end at 2^63 - 1.
    public var json: JSON { .integer(Int(clamping: self)) }
}

extension Double: OptionValue {
    /// The value as this type; nil when it is of another.
    public init?(option: JSON) {
        guard let value = option.asDouble else { return nil }
        self = value
    }
    /// The value as JSON.
    public var json: JSON { .number(self) }
}

extension Bool: OptionValue {
    /// The value as this type; nil when it is of another.
    public init?(option: JSON) {
        switch (option, option.asInteger) {
        case (.bool(let value), _): self = value
        case (_, 0?): self = false
        case (_, 1?): self = true
        default: return nil
        }
    }
    /// The value as JSON.
    public var json: JSON { .bool(self) }
}

extension String: OptionValue {
    /// The value as this type; nil when it is of another.
    public init?(option: JSON) {
        guard case .string(let value) = option else { return nil }
        self = value
    }
    /// The value as JSON.
    public var json: JSON { .string(self) }
}

extension Array: OptionValue where Element: OptionValue {
    /// A list, or a single value as a list of one.
    public init?(option: JSON) {
        guard case .array(let elements) = option else {
            guard let single = Element(option: option) else { return nil }
            self = [single]
            return
        }
        var values: [Element] = []
        for element in elements.each {
            guard let value = Element(option: element) else { return nil }
            values.append(value)
        }
        self = values
    }
    /// The value as JSON.
    public var json: JSON { .array(map { $0.json }) }
}
