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
        /// Images that are encoded first.
        case images

        fileprivate var summary: String {
            switch self {
            case .latents: "File with latents [N,C,h,w], or [N,2,C,h,w] with flipped copies."
            case .tokens: "File with the tokens of all scales [N,tokens]."
            case .images: "File with images [N,3,H,W], which are encoded again each time."
            }
        }
    }

    let kind: Kind
    private let states, labels: String
    private let factor: Double

    /// What `data` may say where a network learns from one of `kinds`.
    static func options(_ kinds: [Kind]) -> [OptionSpec] {
        var table = [
            OptionSpec(
                "path", .text, absent: "files are named each", "A safetensors file with all tensors, by these names."),
            OptionSpec("labels", .text, absent: "in the file `path`", "File with a class for each sample."),
        ]
        for kind in kinds.each {
            table.append(OptionSpec(kind.rawValue, .text, absent: "in the file `path`", kind.summary))
        }
        if kinds.contains(.latents) {
            table.append(
                OptionSpec("factor", .number(-1e6...1e6), default: .number(1), "What latents are multiplied by."))
        }
        return table
    }

    /// Reads `json`; one of `kinds` is expected. A file that holds several of them gives the first. Throws `format`, and `io` when there
    /// are several kinds and the file cannot be looked into.
    init(_ json: JSONObject, _ kinds: [Kind]) throws(DiffError) {
        let first = kinds.first ?? .latents
        let options = try Options(json, Self.options(kinds))
        let given = kinds.each.filter { options.has($0.rawValue) }
        if let path = try options.optional("path", as: String.self) {
            for name in (["labels"] + given.map(\.rawValue)).each where options.has(name) {
                throw options.error(name, "the file \"path\" has both")
            }
            (states, labels) = (path, path)
            kind = kinds.count > 1 ? try Self.kind(in: path, kinds) ?? first : first
        } else {
            kind = given.first ?? first
            if let other = given.at(1) { throw options.error(other.rawValue, "\"\(kind.rawValue)\" is there already") }
            let reason = "without a path each file is named"
            states = try options.needed(kind.rawValue, because: reason)
            labels = try options.needed("labels", because: reason)
        }
        factor = first == .latents ? try options.get("factor") : 1
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

    /// The data as codes, images through `encoder`. Throws as ``TokenSet``.
    func tokens(_ encoder: ScaleEncoder, classes: Int) throws(DiffError) -> TokenSet {
        let states = try ArrayFile(path: states, tensor: kind.rawValue)
        let labels = try ArrayFile(path: labels, tensor: "labels")
        if kind == .images {
            return try TokenSet(pictures: states, labels: labels, encoder: encoder, classes: classes)
        }
        return try TokenSet(tokens: states, labels: labels, encoder: encoder, classes: classes)
    }
}
