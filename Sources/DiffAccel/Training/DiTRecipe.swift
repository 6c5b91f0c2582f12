import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining

/// Trainings of a DiT that change the network: which blocks to keep, weights.
struct DiTRecipe: TrainingRecipe {
    let parameters: Parameters
    let procedure: any LearningProcedure
    let otherWeights: Int
    let loading: Int
    private let inputs: RecipeInputs
    private let configuration: DiTConfiguration

    init(_ inputs: RecipeInputs) throws(DiffError) {
        let (opened, settings, resources) = (inputs.opened, inputs.settings, inputs.resources)
        let checkpoint = opened.checkpoint
        let c = try DiTConfiguration(opened.architecture, conventions: DiTFamily.conventions(opened))
        let scheduler = try DiTFamily.scheduler(opened, c)
        let process = try scheduler.learnedProcess()
        let data = try settings.data.map { (data) throws(DiffError) in try data.latents(classes: c.classRows) }
        (self.inputs, configuration) = (inputs, c)

        func required() throws(DiffError) -> LatentSet {
            guard let data else { throw settings.options.error("data", "training needs data") }
            return data
        }
        switch settings.method {
        case .prune where settings.learnsGates:
            let own = try PruningSettings(settings.options(TrainerSettings.pruning), depth: c.depth)
            parameters = Parameters { own.learns($0) }
            let network = try inputs.dit(checkpoint, c, parameters, lora: own.lora)
            procedure = try PruningLearning(network, parameters, process, data: required(), own, resources)
            (otherWeights, loading) = (0, 0)
        case .prune:
            let own = try RankingSettings(
                settings.options(TrainerSettings.ranking(depth: c.depth)), depth: c.depth)
            parameters = Parameters()
            procedure = try BlockRanking(inputs.dit(checkpoint, c, nil), process, data: data, own, resources)
            (otherWeights, loading) = (checkpoint.tensors.byteCount, checkpoint.largestBytes)
        case .finetune:
            let own = try RecoverySettings(settings.options(TrainerSettings.recovery))
            parameters = Parameters { $0 != "pos_embed" }
            let student = try inputs.dit(checkpoint, c, parameters)
            var teacher: DiT?
            var (bytes, most) = (0, 0)
            if own.distillation != .none {
                let source = try inputs.teacher()
                teacher = try inputs.dit(
                    source.checkpoint,
                    DiTConfiguration(source.architecture, conventions: DiTFamily.conventions(opened)), nil)
                (bytes, most) = (source.checkpoint.tensors.byteCount, source.checkpoint.largestBytes)
            }
            procedure = try RecoveryLearning(
                student, parameters, teacher: teacher, process, data: required(), own, resources)
            (otherWeights, loading) = (bytes, most)
        case .router, .specialise: throw DiffError(.internal, "no training of a DiT's blocks or weights")
        }
    }

    func plan() throws(DiffError) -> Plan {
        switch procedure {
        case let learning as PruningLearning: return Plan([try DepthPlan(keep: learning.decision)])
        case let ranking as BlockRanking: return Plan([try DepthPlan(keep: ranking.decision)])
        default: throw inputs.hasNoPlan
        }
    }

    func export(to folder: String) throws(DiffError) {
        let export = DiTExport(inputs.opened.checkpoint, configuration)
        switch procedure {
        case let learning as PruningLearning:
            try export.prune(
                to: learning.decision, folder: folder,
                note: ["by": .string("tinyfusion"), "steps": .integer(learning.done)])
        case let ranking as BlockRanking:
            try export.prune(
                to: ranking.decision, folder: folder, note: ["by": .string(ranking.settings.rule.rawValue)])
        case let learning as RecoveryLearning:
            try export.write(
                inputs.exported(learning.optimiser), as: inputs.settings.exportType, folder: folder)
        default: throw inputs.hasNoCheckpoint
        }
    }
}

extension RecipeInputs {
    /// The DiT of `source`, for learning when there are parameters.
    func dit(
        _ source: Checkpoint, _ c: DiTConfiguration, _ parameters: Parameters?, lora: LoRAOptions? = nil
    ) throws(DiffError) -> DiT {
        let weights = weights(source, parameters, lora: lora)
        if source.tensors.names.each.contains(where: { $0.hasPrefix("gumbel_gates.") }) {
            opened.ledger.assume("gates that an earlier run learned (gumbel_gates) are left out")
            weights.markUsed(prefix: "gumbel_gates.")
        }
        let network = try DiT(c, weights)
        if let assumption = network.configuration.assumption { opened.ledger.assume(assumption) }
        return network
    }
}
