import DiffCheckpoint
public import DiffTensor

/// Names of a model's classes. A class may have several, separated by commas, as ImageNet's do: `tench, Tinca tinca`.
public struct ClassNames: Sendable, Equatable {
    /// All names of each class as one text; "" for a class without. Empty when no class has a name.
    public let texts: [String]

    /// No names.
    init() { texts = [] }

    /// The names in the config's list `labels`, else in `id2label` of the pipeline. Throws `format` for a list of another length and
    /// for an entry that is no class.
    init(_ opened: Opened, classes: Int) throws(DiffError) {
        let labels = try opened.config.strings("labels", default: [])
        guard labels.isEmpty || labels.count == classes else {
            throw opened.config.error("labels", "\(labels.count) names for \(classes) classes")
        }
        guard labels.isEmpty, let table = try opened.pipeline?.optionalObject("id2label") else {
            texts = labels
            return
        }
        // A name takes memory, a class number does not: as many as the file has room for.
        var names: [Int: String] = [:]
        for key in table.keys.each {
            guard let index = Int(key), index >= 0, index < classes else {
                throw table.error(key, "no class: the model has 0..<\(classes)")
            }
            names.put(try table.string(key), for: index)
        }
        let last = Array(names.keys).each.max() ?? -1
        texts = last < Limits.configValues ? Indices(below: last &+ 1).map { names[$0] ?? "" } : []
    }

    /// Whether no class has a name.
    public var isEmpty: Bool { texts.isEmpty }

    /// The class called `name`: by all its names as one text or by any of them, and if there is none, without regard to case. Throws
    /// `invalidArgument` when there is no such class, or more than one.
    public func index(of name: String) throws(DiffError) -> Int {
        for ignoresCase in [false, true].each {
            let wanted = Self.normal(Substring(name), ignoresCase)
            for found in [
                indices { Self.normal(Substring($0), ignoresCase) == wanted },
                indices { Self.synonyms($0).each.contains { Self.normal($0, ignoresCase) == wanted } },
            ].each where !found.isEmpty {
                guard found.count == 1, let index = found.first else {
                    let numbers = found.map(String.init).joined(separator: " and ")
                    throw DiffError(
                        .invalidArgument, "\"\(name.prefix(100))\" is the name of the classes \(numbers): give a number"
                    )
                }
                return index
            }
        }
        let known =
            isEmpty ? "the model's classes have no names" : "known: \(texts.prefix(10).joined(separator: "; ")), ..."
        throw DiffError(.invalidArgument, "no class is called \"\(name.prefix(100))\"; \(known)")
    }

    private func indices(where condition: (String) -> Bool) -> [Int] {
        texts.numbered.filter { !$0.element.isEmpty && condition($0.element) }.map(\.offset)
    }

    private static func synonyms(_ text: String) -> [Substring] { text.split(separator: ",") }

    /// A name without the spaces around it.
    private static func normal(_ name: Substring, _ ignoresCase: Bool) -> String {
        var rest = name.drop { $0 == " " }
        while rest.last == " " { rest.removeLast() }
        return ignoresCase ? rest.lowercased() : String(rest)
    }

    var json: JSON { .array(texts.map { .string($0) }) }
}

extension Model {
    /// Names of the classes.
    public var classNames: ClassNames { family.classes }
}
