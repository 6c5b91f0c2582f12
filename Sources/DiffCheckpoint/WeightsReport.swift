import DiffTensor
import Synchronization

/// What did not fit while a model was built, collected over all scopes.
final class WeightsReport: Sendable {
    private struct State {
        var used: Set<String> = []
        var missing: Set<String> = []
        var wrong: [String: String] = [:]
    }

    private let state = Mutex(State())

    func use(_ name: String) {
        state.withLock { _ = $0.used.insert(name) }
    }

    func missing(_ name: String) {
        state.withLock { _ = $0.missing.insert(name) }
    }

    func wrong(_ name: String, found: Shape, expected: [Shape]) {
        let shapes = expected.map(\.description).joined(separator: " or ")
        state.withLock { $0.wrong[name] = "\(name.prefix(120)) is \(found), expected \(shapes)" }
    }

    /// Throws when there is something to report.
    func finish(_ table: TensorTable, allowingUnused: Bool) throws(DiffError) {
        let state = state.withLock { $0 }
        let unused = allowingUnused ? [] : table.names.filter { !state.used.contains($0) }
        let missing = state.missing.sorted(by: JSON.precedes)
        let wrong = state.wrong.sorted { JSON.precedes($0.key, $1.key) }.map(\.value)
        guard !unused.isEmpty || !missing.isEmpty || !wrong.isEmpty else { return }
        var text = "\(table.path): the weights do not fit the model (\(missing.count) missing, "
        text += "\(wrong.count) wrongly shaped, \(unused.count) unused)"
        if !wrong.isEmpty { text += "\nwrongly shaped: \(NameList(wrong).text)" }
        if !missing.isEmpty { text += "\nmissing: \(NameList(missing).text)" }
        if !unused.isEmpty { text += "\nunused: \(NameList(unused).text)" }
        throw DiffError(wrong.isEmpty ? .incompatible : .shape, text)
    }
}
