public import DiffCheckpoint
public import DiffModels
public import DiffTensor

/// Writes DiT checkpoints: pruned to some blocks, or with trained weights.
public struct DiTExport: Sendable {
    private let export: CheckpointExport
    private let configuration: DiTConfiguration

    /// Exports of `checkpoint`, a DiT of `configuration`.
    public init(_ checkpoint: Checkpoint, _ configuration: DiTConfiguration) {
        self.configuration = configuration
        let copies = PrunedNames(configuration.naming, keep: [])
        export = CheckpointExport(
            checkpoint,
            file: configuration.naming == .official ? "model.safetensors" : "diffusion_pytorch_model.safetensors",
            original: { copies.inFirstBlock($0) })
    }

    /// Writes a folder with the blocks `keep` of the original weights, in the original element types, and a config of that depth.
    /// Throws `invalidArgument` unless `keep` ascends within the depth, `io`.
    public func prune(to keep: [Int], folder: String, note: [String: JSON] = [:]) throws(DiffError) {
        guard !keep.isEmpty, Indices(below: configuration.depth).filter({ keep.each.contains($0) }) == keep
        else { throw DiffError(.invalidArgument, "blocks \(keep) cannot be kept of \(configuration.depth)") }
        let names = PrunedNames(configuration.naming, keep: keep)
        let tensors = export.checkpoint.tensors
        // The last layer sees the first block's embedders, whichever block that is in a checkpoint.
        for name in export.allNames.each where names.renamed(name)?.hasPrefix("transformer_blocks.0.norm1.emb.") == true
        {
            guard let original = names.inFirstBlock(name), try !tensors.holdsSame(name, original) else { continue }
            throw DiffError(
                .incompatible,
                "\(tensors.path): the blocks have embedders of their own, and the last layer uses block 0's: keep block 0, or use "
                    + "the plan with the whole checkpoint")
        }
        var sources: [String: String] = [:]
        var contents: [String: (dtype: DType, shape: Shape)] = [:]
        for name in export.allNames.each {
            guard let entry = tensors.info(name), let type = entry.type.weight, let new = names.renamed(name)
            else { continue }
            sources.put(name, for: new)
            contents.put((type, entry.shape), for: new)
        }
        var note = note
        note.put(.array(keep.map { .integer($0) }), for: "keep")
        note.put(.integer(configuration.depth), for: "depth")
        let config = try config(depth: keep.count, ["pruned_from": .object(note)])
        try export.write(contents, config, folder) { (name) throws(DiffError) in
            try tensors.load(sources[name] ?? name)
        }
    }

    /// Writes a folder with the weights `learned` (see ``CheckpointExport/write(_:as:folder:config:)``).
    public func write(
        _ learned: [(names: [String], tensor: Tensor)], as type: DType?, folder: String
    ) throws(DiffError) {
        try export.write(learned, as: type, folder: folder, config: config(depth: configuration.depth, [:]))
    }

    /// The checkpoint's config with another depth and `notes` at its top.
    private func config(depth: Int, _ notes: [String: JSON]) throws(DiffError) -> [String: JSON] {
        let key = configuration.naming == .official ? "depth" : "num_layers"
        return try export.config(key, .integer(depth), notes: notes)
    }
}
