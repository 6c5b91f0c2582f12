import DiffAcceleration
import DiffCheckpoint
import DiffTensor
import DiffTraining

/// What a trainer does, read from JSON: the method's own settings and those that all methods share.
///
/// Shared members: `method`, `data` (see ``DataSettings``), `state` (a file that the state is written to), `save_every`, `resume`.
struct TrainerSettings {
    /// What is learned.
    enum Method: String, CaseIterable {
        /// A Learning-to-Cache router.
        case router
        /// Which blocks to keep: by gates that learn, or by a rule.
        case prune
        /// The weights.
        case finetune
    }

    let method: Method
    let json: JSONObject
    let data: DataSettings?
    /// Where the state is written, every so many steps; nil: only when asked.
    let statePath: String?
    let saveEvery: Int
    /// Whether a state that is there already is gone on from.
    let resumes: Bool
    /// Of `finetune`: the checkpoint of the teacher.
    let teacher: String?
    /// Of exports: element type of weights, averaged weights or the last ones, and the most bytes of kept outputs per network row.
    let exportType: DType?
    let exportsAverage: Bool
    let cacheLimit: Int?
    /// Of `prune`: whether gates learn.
    var learnsGates: Bool { method == .prune && !json.has("rule") }

    private static let shared = ["method", "data", "state", "save_every", "resume", "comment"]

    init(_ value: JSON) throws(DiffError) {
        json = try JSONObject(value, source: "settings")
        let name = try json.optionalString("method", oneOf: Method.allCases.map(\.rawValue)) ?? ""
        guard let method = Method(rawValue: name) else {
            throw json.error("method", "expected one of \(Method.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self.method = method
        var known = Self.shared
        switch method {
        case .router: known += RouterSettings.names + ["cache_limit"]
        case .prune: known += json.has("rule") ? RankingSettings.names : PruningSettings.names
        case .finetune: known += RecoverySettings.names + ["teacher", "dtype", "averaged"]
        }
        try json.allow(only: known)
        data = try json.optionalObject("data").map { (object) throws(DiffError) in try DataSettings(object) }
        statePath = try json.optionalString("state")
        saveEvery = try json.integer("save_every", in: 1...1_000_000, default: 100)
        resumes = try json.bool("resume", default: false)
        teacher = method == .finetune ? try json.optionalString("teacher") : nil
        let type = try json.optionalString("dtype", oneOf: ["f32", "f16", "bf16", "stored"]) ?? "f32"
        exportType = DType.allCases.each.first { $0.name == type.uppercased() }
        exportsAverage = try json.bool("averaged", default: true)
        cacheLimit = try json.optionalInteger("cache_limit", in: 0...Int.max)
    }
}

/// Where training data come from: `{"path": "train.safetensors"}` with tensors `latents` and `labels`, or
/// `{"latents": "x.npy", "labels": "y.npy"}`; `factor` multiplies latents.
struct DataSettings {
    let latents, labels: String
    let factor: Double

    init(_ json: JSONObject) throws(DiffError) {
        try json.allow(only: ["path", "latents", "labels", "factor"])
        if let path = try json.optionalString("path") {
            for name in ["latents", "labels"] where json.has(name) {
                throw json.error(name, "the file \"path\" has both")
            }
            (latents, labels) = (path, path)
        } else {
            (latents, labels) = (try json.string("latents"), try json.string("labels"))
        }
        factor = try json.number("factor", in: -1e6...1e6, default: 1)
    }

    func open(classes: Int) throws(DiffError) -> LatentSet {
        try LatentSet(
            states: ArrayFile(path: latents, tensor: "latents"), labels: ArrayFile(path: labels, tensor: "labels"),
            factor: factor, classes: classes)
    }
}
