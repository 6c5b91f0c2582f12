import DiffCheckpoint
import DiffTensor

extension Model {
    /// Names of the classes, in order; empty when the checkpoint does not tell them. A name may be several, separated by commas.
    public var classNames: [String] {
        guard case .array(let names) = family.description["labels"] else { return [] }
        return names.each.compactMap { if case .string(let name) = $0 { name } else { nil } }
    }

    /// The class that `name` names: its number, its whole name or one of the names between commas, in upper or lower case.
    ///
    /// Throws `invalidArgument` for a name that no class has, naming the nearest one, and for one that several have.
    public func classIndex(named name: String) throws(DiffError) -> Int {
        if let index = Int(name) { return index }
        let names = classNames
        let word = Self.plain(name)
        var found: [Int] = []
        for (index, names) in names.numbered where Self.plain(names) == word { found.append(index) }
        if found.isEmpty {
            for (index, names) in names.numbered where Self.synonyms(names).each.contains(word) { found.append(index) }
        }
        guard let first = found.first else {
            let known = names + names.each.flatMap { Self.synonyms($0) }
            throw DiffError(
                .invalidArgument,
                names.isEmpty
                    ? "the model has no names for its classes, so there is no class \"\(name)\": use numbers"
                    : "the model has no class \"\(name)\"\(Spelling.suggestion(for: name, among: known)) (\(names.count) names, "
                        + "such as \(names.prefix(10).joined(separator: "; ")))")
        }
        guard found.count == 1 else {
            let numbers = found.each.map { String($0) }.joined(separator: " and ")
            throw DiffError(.invalidArgument, "\"\(name)\" names the classes \(numbers): use one of the numbers")
        }
        return first
    }

    private static func synonyms(_ names: String) -> [String] {
        names.split(separator: ",").map { plain(String($0)) }
    }

    /// In lower case, without the spaces at both ends.
    private static func plain(_ name: String) -> String {
        let rest = name.lowercased().drop { $0 == " " }
        return rest.lastIndex { $0 != " " }.map { String(rest[...$0]) } ?? ""
    }
}
