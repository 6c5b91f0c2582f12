import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining

/// The weights of a DiT, with or without a teacher.
struct DiTFinetuneRecipe: TrainingRecipe {
    let parameters: Parameters
    let otherWeights: Int
    let loading: Int
    private let learning: RecoveryLearning
    private let inputs: RecipeInputs
    private let configuration: DiTConfiguration

    var procedure: any LearningProcedure { learning }

    init(_ inputs: RecipeInputs) throws(DiffError) {
        let dit = try inputs.ditTraining()
        let own = try RecoverySettings(inputs.settings.options(TrainerSettings.recovery))
        parameters = Parameters { $0 != "pos_embed" }
        let student = try inputs.dit(inputs.opened.checkpoint, dit.configuration, parameters)
        var (teacher, bytes, most): (DiT?, Int, Int) = (nil, 0, 0)
        if own.distillation != .none {
            let source = try inputs.teacher()
            teacher = try inputs.dit(
                source.checkpoint,
                DiTConfiguration(source.architecture, conventions: DiTFamily.conventions(inputs.opened)), nil)
            (bytes, most) = (source.checkpoint.tensors.byteCount, source.checkpoint.largestBytes)
        }
        learning = try RecoveryLearning(
            student, parameters, teacher: teacher, dit.process, data: inputs.required(dit.data), own, inputs.resources)
        (otherWeights, loading) = (bytes, most)
        (self.inputs, configuration) = (inputs, dit.configuration)
    }

    func plan() throws(DiffError) -> Plan { throw inputs.hasNoPlan }

    func export(to folder: String) throws(DiffError) {
        try DiTExport(inputs.opened.checkpoint, configuration).write(
            inputs.exported(learning.optimiser), as: inputs.settings.exportType, folder: folder)
    }
}

/// What trainings of a DiT's blocks or weights begin with.
struct DiTTraining {
    let configuration: DiTConfiguration
    /// The process of training.
    let process: DiffusionProcess
    /// What is learned from; nil: nothing was given.
    let data: LatentSet?
}

extension RecipeInputs {
    /// The sizes, the process and the data of the settings.
    func ditTraining() throws(DiffError) -> DiTTraining {
        let c = try DiTConfiguration(opened.architecture, conventions: DiTFamily.conventions(opened))
        let process = try DiTFamily.scheduler(opened, c).learnedProcess()
        return DiTTraining(
            configuration: c, process: process,
            data: try settings.data.map { (data) throws(DiffError) in try data.latents(classes: c.classRows) })
    }

    /// `data`, which this training cannot do without. Throws `format` when there are none.
    func required(_ data: LatentSet?) throws(DiffError) -> LatentSet {
        guard let data else { throw settings.options.error("data", "training needs data") }
        return data
    }

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
