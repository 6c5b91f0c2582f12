import DiffCheckpoint
import DiffModels
import DiffTensor
import Synchronization

/// The config files of a model while it is opened: what is read of them, and what is assumed where they say nothing.
final class ConfigLedger: Sendable {
    private struct File: Sendable {
        let name: String
        let object: JSONObject
        let rules: ConfigRules
    }

    private struct State {
        var files: [File] = []
        var assumptions: [String] = []
    }

    private let state = Mutex(State())

    /// `object`, the contents of the file `name`, with a record of what is read of it. Throws `unsupported` when `rules` refuse it.
    func entered(_ object: JSONObject, as name: String, _ rules: ConfigRules) throws(DiffError) -> JSONObject {
        try rules.refuse(object)
        let recorded = try object.recorded
        state.withLock { $0.files.append(File(name: name, object: recorded, rules: rules)) }
        return recorded
    }

    /// Notes what was taken for granted, in a sentence that says how to have it otherwise.
    func assume(_ text: String) {
        state.withLock { state in
            if !state.assumptions.each.contains(text) { state.assumptions.append(text) }
        }
    }

    /// What there is to tell when everything was read.
    var report: ConfigReport {
        let state = state.withLock { $0 }
        var report = ConfigReport()
        report.assumptions = state.assumptions
        for file in state.files.each {
            for key in file.rules.unknown(in: file.object).each { report.unknown.append("\(file.name): \(key)") }
            if let defaults = file.object.record?.defaults, !defaults.isEmpty {
                report.defaults.put(.object(defaults), for: file.name)
            }
        }
        return report
    }
}

/// What the config files of a model say that has no effect, and what they do not say.
struct ConfigReport: Sendable {
    /// Keys that are never read and that no list covers, after the name of their file.
    var unknown: [String] = []
    /// Values that were taken for absent keys, by file.
    var defaults: [String: JSON] = [:]
    /// What else was taken for granted.
    var assumptions: [String] = []

    /// The members of a model's description.
    var members: [String: JSON] {
        [
            "unknown_keys": .array(unknown.map { .string($0) }), "defaults": .object(defaults),
            "assumptions": .array(assumptions.map { .string($0) }),
        ]
    }

    /// Tells the log about the model at `path`.
    func log(_ path: String) {
        for key in Array(unknown.prefix(Self.shown)).each {
            Log.write(.warning, "\(path): \(key): a setting that this library does not know; it has no effect")
        }
        if unknown.count > Self.shown {
            Log.write(.warning, "\(path): \(unknown.count &- Self.shown) more settings that this library does not know")
        }
        for text in assumptions.each { Log.write(.info, "\(path): \(text)") }
    }

    private static let shown = 12
}
