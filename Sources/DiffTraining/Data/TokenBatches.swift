import DiffModels
import DiffTensor

/// The batches of a run of learning from codes.
final class TokenBatches {
    /// Samples and where they come from.
    let data: TokenSet
    /// Samples of a batch.
    let size: Int
    private let order: BatchOrder
    /// Of the encoder: its workspace has nothing in common with that of a pass.
    private let run: Run

    /// Batches of `size` samples of `data`, images being encoded by `encoder`. Throws memory errors.
    init(
        _ data: TokenSet, _ encoder: ScaleEncoder, size: Int, seed: UInt64, _ resources: LearningResources
    ) throws(DiffError) {
        (self.data, self.size) = (data, size)
        order = BatchOrder(count: data.count, size: size, seed: seed)
        run = try resources.run(AccelerationStack(), encoder.layout, rows: 1)
    }

    /// Bytes of the encoder's workspace at its peak.
    var workspaceBytes: Int { run.workspace.peakBytes }

    /// Codes of all scales, [scale][sample · side²], and labels of `step`. Throws what ``TokenSet/read(_:_:)`` does.
    func batch(_ step: Int) throws(DiffError) -> (codes: [[Int]], labels: [Int]) {
        let chosen = order.indices(step)
        return (try data.read(chosen, run), chosen.each.map(data.label))
    }
}
