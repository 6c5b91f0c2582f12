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

    /// Throws when there is something to report. Integers that nothing asked for are a trainer's counters or positions, no weights.
    func finish(_ table: TensorTable, allowingUnused: Bool) throws(DiffError) {
        let state = state.withLock { $0 }
        let others = table.sourceNames(
            table.unordered { !state.used.contains($0) && table.info($0)?.type.isIntegral == false })
        let lacking = table.sourceNames(Array(state.missing))
        let unused = allowingUnused ? NameList([]) : NameList(firstOf: others)
        let missing = NameList(firstOf: lacking)
        let wrong = NameList(firstOf: state.wrong.keys)
        guard unused.count > 0 || missing.count > 0 || wrong.count > 0 else { return }
        var text = "\(table.path): the weights do not fit the model (\(missing.count) missing, "
        text += "\(wrong.count) wrongly shaped, \(unused.count) unused)"
        if wrong.count > 0 { text += "\nwrongly shaped: \(wrong.text { state.wrong[$0] ?? $0 })" }
        if missing.count > 0 { text += "\nmissing: \(missing.text)" }
        if unused.count > 0 { text += "\nunused: \(unused.text)" }
        if let hint = NameHint(missing: Set(lacking), unused: others, path: table.path) { text += "\n\(hint.text)" }
        throw DiffError(wrong.count == 0 ? .incompatible : .shape, text)
    }
}
