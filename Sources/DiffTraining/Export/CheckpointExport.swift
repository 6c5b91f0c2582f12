public import DiffCheckpoint
public import DiffModels
public import DiffTensor

/// Writes checkpoints that are ordinary ones of their family: pruned to some blocks, or with trained weights.
public struct CheckpointExport: Sendable {
    /// The checkpoint that was learned from.
    public let checkpoint: Checkpoint
    /// Sizes and layout of its network.
    public let configuration: DiTConfiguration

    /// Exports of `checkpoint`, a DiT of `configuration`.
    public init(_ checkpoint: Checkpoint, _ configuration: DiTConfiguration) {
        (self.checkpoint, self.configuration) = (checkpoint, configuration)
    }

    /// Writes a folder with the blocks `keep` of the original weights, in the original element types, and a config of that depth.
    /// Throws `invalidArgument` unless `keep` ascends within the depth, `io`.
    public func prune(to keep: [Int], folder: String, note: [String: JSON] = [:]) throws(DiffError) {
        guard !keep.isEmpty, Indices(below: configuration.depth).filter({ keep.each.contains($0) }) == keep
        else { throw DiffError(.invalidArgument, "blocks \(keep) cannot be kept of \(configuration.depth)") }
        let names = PrunedNames(configuration.naming, keep: keep)
        var sources: [String: String] = [:]
        var contents: [String: (dtype: DType, shape: Shape)] = [:]
        for name in checkpoint.tensors.names.each {
            guard let entry = checkpoint.tensors.info(name), let type = entry.type.weight, let new = names.renamed(name)
            else { continue }
            sources.put(name, for: new)
            contents.put((type, entry.shape), for: new)
        }
        var note = note
        note.put(.array(keep.map { .integer($0) }), for: "keep")
        note.put(.integer(configuration.depth), for: "depth")
        let config = try config(depth: keep.count, ["pruned_from": .object(note)])
        try write(contents, config, folder) { (name) throws(DiffError) in
            try checkpoint.tensors.load(sources[name] ?? name)
        }
    }

    /// Writes a folder with the weights `learned` (f32, by name in the checkpoint; tensors computed as one have several names) and
    /// all others from the checkpoint, as `type` (nil: as the checkpoint has them). Throws `notFinite` for weights that are none, `io`.
    public func write(
        _ learned: [(names: [String], tensor: Tensor)], as type: DType?, folder: String, note: [String: JSON] = [:]
    ) throws(DiffError) {
        var tensors: [String: Tensor] = [:]
        for (names, tensor) in learned {
            let rows = names.isEmpty ? 0 : tensor.shape[0] / names.count
            for (index, name) in names.numbered {
                tensors.put(names.count == 1 ? tensor : try tensor.rows(index &* rows, rows), for: name)
            }
        }
        let copies = PrunedNames(configuration.naming, keep: [])
        func source(_ name: String) -> Tensor? { tensors[name] ?? copies.inFirstBlock(name).flatMap { tensors[$0] } }
        var contents: [String: (dtype: DType, shape: Shape)] = [:]
        for name in checkpoint.tensors.names.each {
            guard let entry = checkpoint.tensors.info(name), let stored = entry.type.weight else { continue }
            contents.put((type ?? stored, entry.shape), for: name)
        }
        let config = try config(depth: configuration.depth, note)
        let run = Run(pool: nil, budget: nil)
        let kinds = contents
        try write(contents, config, folder) { (name) throws(DiffError) in
            guard let wanted = kinds[name] else { throw DiffError(.internal, "no tensor \"\(name)\"") }
            let tensor: Tensor
            if let learned = source(name) {
                tensor = try learned.reshaped(wanted.shape)
            } else {
                let stored = try checkpoint.tensors.load(name)
                if stored.dtype == wanted.dtype { return stored }
                tensor = try stored.widened(budget: nil)
            }
            try run.requireFinite(tensor, "tensor \"\(name)\"")
            return try tensor.narrowed(to: wanted.dtype, budget: nil)
        }
    }

    /// The checkpoint's config with another depth and `notes` at its top.
    private func config(depth: Int, _ notes: [String: JSON]) throws(DiffError) -> JSON {
        var members = try checkpoint.configuration.members
        let key = configuration.naming == .official ? "depth" : "num_layers"
        if case .object(var model) = members["model"] {
            model.put(.integer(depth), for: key)
            members.put(.object(model), for: "model")
        } else {
            members.put(.integer(depth), for: key)
        }
        for name in Array(notes.keys).each { members.put(notes[name] ?? .null, for: name) }
        return .object(members)
    }

    private func write(
        _ contents: [String: (dtype: DType, shape: Shape)], _ config: JSON, _ folder: String,
        load: (String) throws(DiffError) -> Tensor
    ) throws(DiffError) {
        try Directory.make(folder)
        let file = configuration.naming == .official ? "model" : "diffusion_pytorch_model"
        try SafetensorsWriter.write(
            contents, metadata: ["format": "pt"], to: "\(folder)/\(file).safetensors", load: load)
        try AtomicFile.write(config.serialized(pretty: true), to: "\(folder)/config.json")
    }
}
