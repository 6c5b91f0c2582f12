import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// Where training data come from: `{"path": "train.safetensors"}` with a tensor of states and `labels`, or two files such as
/// `{"latents": "x.npy", "labels": "y.npy"}`; `factor` multiplies latents.
struct DataSettings {
    /// What a network learns from, under the name in settings and files.
    enum Kind: String {
        /// States of a diffusion model.
        case latents
        /// Codes of all scales of a next-scale model.
        case tokens
        /// Pictures that are encoded first.
        case images
    }

    let kind: Kind
    private let states, labels: String
    private let factor: Double

    /// Reads `json`; one of `kinds` is expected. A file that holds several of them gives the first. Throws `format`, and `io` when there
    /// are several kinds and the file cannot be looked into.
    init(_ json: JSONObject, _ kinds: [Kind]) throws(DiffError) {
        let first = kinds.first ?? .latents
        var names = ["labels"]
        for kind in kinds.each { names.append(kind.rawValue) }
        var known = names
        known.append("path")
        if first == .latents { known.append("factor") }
        try json.allow(only: known)
        if let path = try json.optionalString("path") {
            for name in names.each where json.has(name) { throw json.error(name, "the file \"path\" has both") }
            (states, labels) = (path, path)
            kind = kinds.count > 1 ? try Self.kind(in: path, kinds) ?? first : first
        } else {
            let given = kinds.each.filter { json.has($0.rawValue) }
            kind = given.first ?? first
            if let other = given.at(1) { throw json.error(other.rawValue, "\"\(kind.rawValue)\" is there already") }
            (states, labels) = (try json.string(kind.rawValue), try json.string("labels"))
        }
        factor = try json.number("factor", in: -1e6...1e6, default: 1)
    }

    private static func kind(in path: String, _ kinds: [Kind]) throws(DiffError) -> Kind? {
        guard !ArrayFile.isNumpy(path) else { return nil }
        let table = try TensorTable(FileBytes(path: path))
        return kinds.each.first { table.has($0.rawValue) }
    }

    /// The data as states. Throws as ``LatentSet``.
    func latents(classes: Int) throws(DiffError) -> LatentSet {
        try LatentSet(
            states: ArrayFile(path: states, tensor: kind.rawValue), labels: ArrayFile(path: labels, tensor: "labels"),
            factor: factor, classes: classes)
    }

    /// The data as codes, pictures through `encoder`. Throws as ``TokenSet``.
    func tokens(_ encoder: ScaleEncoder, classes: Int) throws(DiffError) -> TokenSet {
        let states = try ArrayFile(path: states, tensor: kind.rawValue)
        let labels = try ArrayFile(path: labels, tensor: "labels")
        if kind == .images {
            return try TokenSet(pictures: states, labels: labels, encoder: encoder, classes: classes)
        }
        return try TokenSet(tokens: states, labels: labels, encoder: encoder, classes: classes)
    }
}
