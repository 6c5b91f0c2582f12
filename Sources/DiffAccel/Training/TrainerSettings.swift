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
        /// The weights of a next-scale model, for its part of collaborative decoding.
        case specialise

        /// Whether the result are weights, of which averages are kept.
        var learnsWeights: Bool { self == .finetune || self == .specialise }
        /// What it learns from.
        var kinds: [DataSettings.Kind] { self == .specialise ? [.tokens, .images] : [.latents] }
    }

    let method: Method
    let json: JSONObject
    let data: DataSettings?
    /// Where the state is written, every so many steps; nil: only when asked.
    let statePath: String?
    let saveEvery: Int
    /// Whether a state that is there already is gone on from.
    let resumes: Bool
    /// Of methods that learn weights: the checkpoint of the teacher.
    let teacher: String?
    /// Of `specialise`: the VQ-VAE, when the model has none.
    let vae: String?
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
        case .specialise: known += SpecialisationSettings.names + ["teacher", "vae", "dtype", "averaged"]
        }
        try json.allow(only: known)
        data = try json.optionalObject("data").map { (object) throws(DiffError) in
            try DataSettings(object, method.kinds)
        }
        statePath = try json.optionalString("state")
        saveEvery = try json.integer("save_every", in: 1...1_000_000, default: 100)
        resumes = try json.bool("resume", default: false)
        teacher = method.learnsWeights ? try json.optionalString("teacher") : nil
        vae = method == .specialise ? try json.optionalString("vae") : nil
        let type = try json.optionalString("dtype", oneOf: ["f32", "f16", "bf16", "stored"]) ?? "f32"
        exportType = DType.allCases.each.first { $0.name == type.uppercased() }
        exportsAverage = try json.bool("averaged", default: true)
        cacheLimit = try json.optionalInteger("cache_limit", in: 0...Int.max)
    }
}
