import DiffAccel
import DiffCheckpoint

/// The options of a request as JSON, read from what is on the command line by the types that a model's form declares.
struct GivenValues {
    let form: RequestForm
    /// The program's own options, for slips of the fingers.
    let ownNames: [String]

    /// The options of `given`. Of an option given several times a list is made, where it takes one; else the last one holds.
    func options(_ given: [GivenOption]) throws -> [String: JSON] {
        var values: [String: [JSON]] = [:]
        for option in given {
            guard let spec = form.options.first(where: { $0.name == option.name }) else { throw unknown(option.name) }
            values[spec.name, default: []].append(try Self.value(option.value, spec))
        }
        var options: [String: JSON] = [:]
        for spec in form.options {
            guard let all = values[spec.name], let last = all.last else { continue }
            options[spec.name] = all.count == 1 ? last : Self.together(all, spec.type) ?? last
        }
        return options
    }

    private func unknown(_ name: String) -> UsageError {
        let written = GivenOption.dashed(name)
        if let tensor = form.tensors.first(where: { $0.name == name }) {
            return UsageError(
                "\(written): \(name) is a tensor \(tensor.shape), which the library takes (C, Python, Swift) and the command line does not"
            )
        }
        let names = form.options.map { String(GivenOption.dashed($0.name).dropFirst(2)) }
        if let nearest = Spelling.nearest(to: String(written.dropFirst(2)), among: names + ownNames) {
            return UsageError("no option \(written); did you mean --\(nearest)?")
        }
        return UsageError("no option \(written); this model takes \(names.map { "--\($0)" }.joined(separator: ", "))")
    }

    /// What `text` says as a value of `spec`; nil is an option without a value, which only a flag may be.
    static func value(_ text: String?, _ spec: OptionSpec) throws -> JSON {
        let written = GivenOption.dashed(spec.name)
        guard let text else {
            if case .flag = spec.type { return .bool(true) }
            throw UsageError(
                "\(written) needs a value: \(spec.type); a value that begins with two dashes is written \(written)=--…")
        }
        if let first = text.first, first == "[" || first == "{", !spec.type.isPlainText {
            do {
                return try JSON(parsing: text, source: written)
            } catch {
                throw UsageError(error.message)
            }
        }
        guard let value = read(text, spec.type) else {
            throw UsageError("\(written): expected \(spec.type), found \"\(text.prefix(60))\"")
        }
        return value
    }

    /// The value that `text` is, when the kind of `type` has such a value; ranges and names are the library's business.
    private static func read(_ text: String, _ type: OptionType) -> JSON? {
        switch type {
        case .flag: ["true": JSON.bool(true), "false": .bool(false), "1": .bool(true), "0": .bool(false)][text]
        case .integer: Int(text).map { .integer($0) }
        case .number: Int(text).map { .integer($0) } ?? Double(text).map { .number($0) }
        case .text, .choice: .string(text)
        case .list(let element, _): list(text, element)
        case .either(let types): either(text, types)
        case .object: nil
        }
    }

    private static func list(_ text: String, _ element: OptionType) -> JSON? {
        var values: [JSON] = []
        for piece in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let value = read(String(piece.trimmed), element) else { return nil }
            values.append(value)
        }
        return .array(values)
    }

    /// Numbers and flags before texts: every text is one. A text that may stand alone is not cut at its commas.
    private static func either(_ text: String, _ types: [OptionType]) -> JSON? {
        let takesText = types.contains(where: \.takesText)
        for type in types where !type.takesText {
            if takesText, case .list(let element, _) = type, element.takesText { continue }
            if let value = read(text, type) { return value }
        }
        return takesText ? types.lazy.filter(\.takesText).compactMap { read(text, $0) }.first : nil
    }

    /// Several values as one: a list of them, or of their elements.
    private static func together(_ values: [JSON], _ type: OptionType) -> JSON? {
        switch type.depth {
        case 0: nil
        case 1: .array(values.flatMap { $0.asArray ?? [$0] })
        default: .array(values)
        }
    }
}

extension OptionType {
    /// Whether it takes nothing but texts, one or several: whatever is in one is text, also what looks like JSON.
    var isPlainText: Bool {
        switch self {
        case .text: true
        case .list(let element, _): element.isPlainText
        case .either(let types): types.allSatisfy(\.isPlainText)
        case .flag, .integer, .number, .choice, .object: false
        }
    }

    /// How deep lists are in each other.
    fileprivate var depth: Int {
        switch self {
        case .list(let element, _): 1 + element.depth
        case .either(let types): types.map(\.depth).max() ?? 0
        case .flag, .integer, .number, .text, .choice, .object: 0
        }
    }
}
