import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// Which blocks of a DiT to keep: by gates that learn, or by a rule.
struct DiTPruneRecipe: TrainingRecipe {
    let parameters: Parameters
    let procedure: any LearningProcedure
    let otherWeights: Int
    let loading: Int
    private let inputs: RecipeInputs
    private let configuration: DiTConfiguration
    /// The blocks kept as it stands, and what a checkpoint's note says of how they were found.
    private let decision: () -> [Int], note: () -> [String: JSON]

    init(_ inputs: RecipeInputs) throws(DiffError) {
        let (settings, checkpoint, dit) = (inputs.settings, inputs.opened.checkpoint, try inputs.ditTraining())
        let depth = dit.configuration.depth
        (self.inputs, configuration) = (inputs, dit.configuration)
        guard settings.learnsGates else {
            let own = try RankingSettings(settings.options(TrainerSettings.ranking(depth: depth)), depth: depth)
            let ranking = try BlockRanking(
                inputs.dit(checkpoint, dit.configuration, nil), dit.process, data: dit.data, own, inputs.resources)
            (parameters, procedure) = (Parameters(), ranking)
            (otherWeights, loading) = (checkpoint.tensors.byteCount, checkpoint.largestBytes)
            (decision, note) = ({ ranking.decision }, { ["by": .string(ranking.settings.rule.rawValue)] })
            return
        }
        let own = try PruningSettings(settings.options(TrainerSettings.pruning), depth: depth)
        parameters = Parameters { own.learns($0) }
        let network = try inputs.dit(checkpoint, dit.configuration, parameters, lora: own.lora)
        let learning = try PruningLearning(
            network, parameters, dit.process, data: inputs.required(dit.data), own, inputs.resources)
        procedure = learning
        (otherWeights, loading) = (0, 0)
        decision = { learning.decision }
        note = { ["by": .string("tinyfusion"), "steps": .integer(learning.done)] }
    }

    func plan() throws(DiffError) -> Plan { Plan([try DepthPlan(keep: decision())]) }

    func export(to folder: String) throws(DiffError) {
        try DiTExport(inputs.opened.checkpoint, configuration).prune(to: decision(), folder: folder, note: note())
    }
}
