import DiffTensor

/// TinyFusion's layers while it learns: x <- m Block(x) + (1 - m) x, with one mask value per block and sample.
///
/// Every block is computed for every sample: what it would have changed is the gradient of its mask. Source: TinyFusion
/// (arXiv 2412.01199), the layer-pruning DiT of the official code.
final class BlockGates: Acceleration {
    /// [blocks, samples], 0 or 1; tracked.
    var masks: Tensor?
    private var block: [Int] = []

    func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        block = context.perSite(-1)
        var hooks = HookSet()
        for (index, site) in context.sites(.block).numbered {
            block.put(index, at: site.number)
            hooks.modules.insert(site)
        }
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        guard let masks, let index = block.at(site.number), index >= 0 else { return try compute() }
        let mask = try masks.rows(index, 1)
        return Slots(try run.mix(compute().first, inputs.first, weights: mask.reshaped(Shape(mask.shape.count))))
    }
}
