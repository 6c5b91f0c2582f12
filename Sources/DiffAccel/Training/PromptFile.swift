import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// Prompts that a network is told while it learns, as diffusers' pipelines name them: a safetensors file with `prompt_embeds` [P,t,D], of
/// SDXL `pooled_prompt_embeds` [P,W] and `time_ids` [P,6], and the same after `negative_` with one row, what stands for no prompt.
struct PromptFile {
    private let table: TensorTable
    private let resources: LearningResources

    /// The file at `path`. Throws `io`, `format`.
    init(path: String, _ resources: LearningResources) throws(DiffError) {
        (table, self.resources) = (try TensorTable(FileBytes(path: path)), resources)
    }

    /// `network` told these prompts; what it makes of them is made here, once. Throws `format` for a missing tensor, `shape`.
    func told(to network: any ConditionedDenoiser) throws(DiffError) -> PromptedDenoiser {
        let run =
            resources.dryThreads.map { Run(dryOn: $0) }
            ?? Run(pool: resources.pool, budget: resources.budget, cancel: resources.cancel)
        let prefix = "negative_"
        let endsInNone = table.has("\(prefix)\(Self.states)")
        func both(_ name: String) throws(DiffError) -> Tensor {
            let own = try tensor(name)
            return endsInNone ? try joined(own, tensor("\(prefix)\(name)"), run) : own
        }
        var conditioning = Conditioning(states: try both(Self.states))
        if network.pooledWidth != nil { conditioning.pooled = try both("pooled_prompt_embeds") }
        if network.takesSizes { conditioning.sizes = try both("time_ids") }
        for tensor in [conditioning.states, conditioning.pooled, conditioning.sizes] {
            guard let tensor else { continue }
            try run.requireFinite(tensor, "\(table.path)")
        }
        let prepared = try locating(table.path) { () throws(DiffError) in try network.prepare(conditioning, run) }
        return try PromptedDenoiser(network, prepared, endsInNone: endsInNone)
    }

    private static let states = "prompt_embeds"

    /// The tensor `name` in f32, without memory in a dry run.
    private func tensor(_ name: String) throws(DiffError) -> Tensor {
        guard let shape = table.info(name)?.shape else {
            throw DiffError(.format, "\(table.path): no tensor \"\(name)\"")
        }
        guard resources.dryThreads == nil else { return try Tensor(Storage(virtual: shape.count &* 4), shape) }
        return try table.load(name, budget: resources.budget).widened(budget: resources.budget)
    }

    /// The rows of `a`, then those of `b`. Throws `shape` when their extents differ, and unless `b` has one row.
    private func joined(_ a: Tensor, _ b: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard a.shape.rank > 0, b.shape[0] == 1, try a.shape.replacingFirst(1) == b.shape else {
            throw DiffError(.shape, "\(table.path): \(b.shape) for no prompt beside prompts of \(a.shape)")
        }
        let out = try run.workspace.take(a.shape.replacingFirst(Checked.sum(a.shape[0], 1)))
        run.copyContents(of: a, to: out)
        try run.copyContents(of: b, to: out.rows(a.shape[0], 1))
        return out
    }
}
