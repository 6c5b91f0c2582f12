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
        if let index = name.naturalNumber { return index }
        let (names, word) = (classNames, name.plainWord)
        var found: [Int] = []
        for (index, names) in names.numbered where names.plainWord == word { found.append(index) }
        if found.isEmpty {
            for (index, names) in names.numbered where Self.synonyms(names).each.contains(word) { found.append(index) }
        }
        guard let first = found.at(0) else { throw Self.unknown(name, names) }
        guard found.count == 1 else {
            let numbers = found.each.map { String($0) }.joined(separator: " and ")
            throw DiffError(.invalidArgument, "\"\(name)\" names the classes \(numbers): use one of the numbers")
        }
        return first
    }

    private static func synonyms(_ names: String) -> [String] { names.pieces(at: ",").each.map(\.plainWord) }

    private static func unknown(_ name: String, _ names: [String]) -> DiffError {
        guard !names.isEmpty else {
            return DiffError(
                .invalidArgument,
                "the model has no names for its classes, so there is no class \"\(name)\": use numbers")
        }
        var (known, shown): ([String], [String]) = (names, [])
        for (index, names) in names.numbered {
            for synonym in synonyms(names).each { known.append(synonym) }
            if index < 10 { shown.append(names) }
        }
        return DiffError(
            .invalidArgument,
            "the model has no class \"\(name)\"\(Spelling.suggestion(for: name, among: known)) (\(names.count) names, such as "
                + "\(shown.joined(separator: "; ")))")
    }
}
