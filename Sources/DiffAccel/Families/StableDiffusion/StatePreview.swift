import DiffTensor

/// What events show of a state on its way.
enum StatePreview: Sendable {
    /// Nothing.
    case none
    /// Pictures of latents by this decoder.
    case decoded(any PictureDecoder)

    /// Whether making one gives blocks back between its stages, as autoencoders do: what was reserved for steps is then gone after the first.
    var givesBlocksBack: Bool {
        switch self {
        case .none: false
        case .decoded(let decoder): decoder.takesTiles
        }
    }

    /// A picture of each sample of `state` [n, C, h, w]; nil when none is wanted, and in a dry run, which takes the memory all the same.
    func picture(_ state: Tensor, _ run: Run) throws(DiffError) -> ImageBatch? {
        guard case .decoded(let decoder) = self, let shape = try decoder.shape(of: state.shape) else { return nil }
        let all = try run.workspace.take(shape)
        for row in Indices(below: shape[0]) {
            try run.store(decoder.decodeOne(state.rows(row, 1), run), in: all, row: row)
        }
        return run.isDry ? nil : try decoder.images(all, run, budget: run.workspace.memoryBudget)
    }
}
