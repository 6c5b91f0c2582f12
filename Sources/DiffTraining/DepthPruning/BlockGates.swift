import DiffTensor

/// TinyFusion's layers while it learns: x <- m Block(x) + (1 - m) x, with one mask value per block and sample.
///
/// Every block is computed for every sample: what it would have changed is the gradient of its mask. Source: TinyFusion
/// (arXiv 2412.01199), the layer-pruning DiT of the official code.
final class BlockGates: Acceleration {
    /// [blocks, samples], 0 or 1; tracked.
    var masks: Tensor?
    private var block: [Int] = []

    func begin(_ opening: Opening) throws(DiffError) -> Interest {
        guard let layout = opening.layouts.first else { return Interest() }
        block = Array(repeating: -1, count: layout.sites.count)
        var interest = Interest()
        for (index, site) in layout.sites(.block).numbered {
            block.put(index, at: site.number)
            interest.modules.insert(site)
        }
        return interest
    }

    func module(_ site: Site, _ input: Tensor, _ run: Run, _ compute: Compute) throws(DiffError) -> Tensor {
        guard let masks, let index = block.at(site.number), index >= 0 else { return try compute() }
        let mask = try masks.rows(index, 1)
        return try run.mix(compute(), input, weights: mask.reshaped(Shape(mask.shape.count)))
    }
}
