public import DiffCheckpoint
public import DiffModels
public import DiffTensor

/// Writes VAR checkpoints with trained weights, official names, and the VQ-VAE that the original has in its folder.
public struct VARExport: Sendable {
    private let export: CheckpointExport
    private let configuration: VARConfiguration

    /// Exports of `checkpoint`, a VAR of `configuration`.
    public init(_ checkpoint: Checkpoint, _ configuration: VARConfiguration) {
        self.configuration = configuration
        // Buffers: which scale a token belongs to, and a mask of minus infinities.
        export = CheckpointExport(checkpoint, derived: ["lvl_1L", "attn_bias_for_masking"])
    }

    /// Writes a folder with the weights `learned` (see ``CheckpointExport/write(_:as:folder:config:)``), the original's config - labels
    /// and sampling defaults included - with `notes` at its top, and its folder `vae` if it has one. Throws `notFinite`, `io`.
    public func write(
        _ learned: [(names: [String], tensor: Tensor)], as type: DType?, folder: String, notes: [String: JSON]
    ) throws(DiffError) {
        // What the buffers told of the scales.
        let sides = JSON.array(configuration.schedule.sides.map { .integer($0) })
        var notes = notes
        notes.put(.string("var"), for: "family")
        try export.write(
            learned, as: type, folder: folder, config: export.config("patch_nums", sides, notes: notes))
        try export.copy(part: "vae", into: folder)
    }
}
