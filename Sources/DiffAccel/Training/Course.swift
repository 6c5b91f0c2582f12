import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining

/// The parts of a training: the checkpoint, the network loaded for learning, and the procedure.
struct Course {
    let checkpoint: Checkpoint
    let configuration: DiTConfiguration
    let parameters: Parameters
    let procedure: any LearningProcedure
    /// Bytes of weights that are not noted in `parameters`: a teacher's, or those of a network that does not learn.
    let otherWeights: Int
    /// Bytes of the largest of them, which is in memory twice while it is put in order.
    let loading: Int

    /// Opens the checkpoint at `path` and sets up the procedure. With `resources` of a rehearsal nothing is read but descriptions.
    init(
        _ path: String, _ model: ModelOptions, _ settings: TrainerSettings, _ resources: LearningResources
    ) throws(DiffError) {
        guard model.weights != .int8 else {
            throw DiffError(.unsupported, "\(path): int8 weights are for inference; learning keeps weights in f32")
        }
        let budget: MemoryBudget = if let given = resources.budget { given } else { try MemoryBudget() }
        let opened = try Model.opened(path, model, budget)
        guard try Families.choose(opened.config, model).name == DiTFamily.name else {
            throw DiffError(.unsupported, "\(path): only DiT models can be trained")
        }
        let c = try DiTConfiguration(opened.architecture, conventions: model.conventions)
        let process = try DiTFamily.process(opened)
        let data = try settings.data.map { (data) throws(DiffError) in try data.open(classes: c.classRows) }
        (checkpoint, configuration) = (opened.checkpoint, c)

        /// The network of a checkpoint, for learning when there are parameters.
        func load(
            _ source: Checkpoint, _ c: DiTConfiguration, _ parameters: Parameters?, lora: LoRAOptions? = nil
        ) throws(DiffError) -> DiT {
            let options = Weights.Options(
                budget: resources.budget, dryRun: resources.rehearsalThreads != nil, pool: resources.pool,
                parameters: parameters, lora: lora)
            let weights = source.weights(options)
            weights.markUsed(prefix: "gumbel_gates.")
            return try DiT(c, weights)
        }
        func required() throws(DiffError) -> LatentSet {
            guard let data else { throw settings.json.error("data", "training needs data") }
            return data
        }
        switch settings.method {
        case .router:
            var defaults = RouterSettings()
            defaults.guidanceChannels = try DiTFamily.guidanceChannels(opened, c)
            let own = try RouterSettings(settings.json, default: defaults)
            parameters = Parameters()
            procedure = try RouterLearning(load(checkpoint, c, parameters), process, data: data, own, resources)
            (otherWeights, loading) = (0, 0)
        case .prune where settings.learnsGates:
            let own = try PruningSettings(settings.json, depth: c.depth)
            parameters = Parameters { own.learns($0) }
            let network = try load(checkpoint, c, parameters, lora: own.lora)
            procedure = try PruningLearning(network, parameters, process, data: required(), own, resources)
            (otherWeights, loading) = (0, 0)
        case .prune:
            let own = try RankingSettings(settings.json, depth: c.depth)
            parameters = Parameters()
            procedure = try BlockRanking(load(checkpoint, c, nil), process, data: data, own, resources)
            (otherWeights, loading) = (checkpoint.tensors.byteCount, Self.largest(checkpoint))
        case .finetune:
            let own = try RecoverySettings(settings.json)
            parameters = Parameters { $0 != "pos_embed" }
            let student = try load(checkpoint, c, parameters)
            var teacher: DiT?
            var (bytes, most) = (0, 0)
            if own.distillation != .none {
                guard let path = settings.teacher else {
                    throw settings.json.error("teacher", "distillation needs one")
                }
                let source = try Model.opened(path, model, budget)
                teacher = try load(
                    source.checkpoint, DiTConfiguration(source.architecture, conventions: model.conventions), nil)
                (bytes, most) = (source.checkpoint.tensors.byteCount, Self.largest(source.checkpoint))
            }
            procedure = try RecoveryLearning(
                student, parameters, teacher: teacher, process, data: required(), own, resources)
            (otherWeights, loading) = (bytes, most)
        }
    }

    /// Bytes of the largest tensor of `checkpoint`.
    private static func largest(_ checkpoint: Checkpoint) -> Int {
        checkpoint.tensors.names.each.reduce(0) { max($0, checkpoint.tensors.info($1)?.byteCount ?? 0) }
    }
}
