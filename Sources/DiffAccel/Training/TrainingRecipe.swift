import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// A training recipe for one model family: what learns, and what results.
protocol TrainingRecipe {
    /// Tensors of the network that learns.
    var parameters: Parameters { get }
    /// How it learns.
    var procedure: any LearningProcedure { get }
    /// Bytes of weights that are not noted in `parameters`: a teacher's, or those of a network that does not learn.
    var otherWeights: Int { get }
    /// Bytes of the largest of them, which is in memory twice while it is packed.
    var loading: Int { get }

    /// What was learned as a plan. Throws `unsupported` when it is none.
    func plan() throws(DiffError) -> Plan
    /// Writes a checkpoint folder. Throws `unsupported` when what was learned is none, `notFinite`, `io`.
    func export(to folder: String) throws(DiffError)
}

/// What models of one family can learn, by some methods.
struct TrainingRecipeEntry: Sendable {
    let family: any ModelFamily.Type
    let methods: [TrainerSettings.Method]
    /// Opens the networks and sets up the procedure. With resources of a dry run nothing is read but descriptions.
    let open: @Sendable (RecipeInputs) throws(DiffError) -> any TrainingRecipe
}

/// The trainings the library knows, by family and method. A new one is added here and nowhere else.
enum TrainingRecipes {
    static let all = [
        TrainingRecipeEntry(family: DiTFamily.self, methods: [.router], open: RouterRecipe.dit),
        TrainingRecipeEntry(family: DiTFamily.self, methods: [.prune]) { (inputs) throws(DiffError) in
            try DiTPruneRecipe(inputs)
        },
        TrainingRecipeEntry(family: DiTFamily.self, methods: [.finetune]) { (inputs) throws(DiffError) in
            try DiTFinetuneRecipe(inputs)
        },
        TrainingRecipeEntry(family: UViTFamily.self, methods: [.router], open: RouterRecipe.uvit),
        TrainingRecipeEntry(family: UNetFamily.self, methods: [.router], open: RouterRecipe.unet),
        TrainingRecipeEntry(family: StableDiffusionFamily.self, methods: [.router], open: RouterRecipe.pipeline),
        TrainingRecipeEntry(family: VARFamily.self, methods: [.specialise]) { (inputs) throws(DiffError) in
            try VARRecipe(inputs)
        },
    ]

    /// The training of the checkpoint at `path`. Throws `unsupported` when its family has no such method.
    static func open(
        _ path: String, _ model: ModelOptions, _ settings: TrainerSettings, _ resources: LearningResources
    ) throws(DiffError) -> any TrainingRecipe {
        let inputs = try RecipeInputs(path, model, settings, resources)
        let entry = try entry(inputs.opened.family.name, settings.method, path)
        let recipe = try entry.open(inputs)
        inputs.opened.ledger.report.log(path)
        return recipe
    }

    /// The entry for `method` of models of `family`. Throws `unsupported`, naming what there is, when there is none.
    static func entry(
        _ family: String, _ method: TrainerSettings.Method, _ path: String
    ) throws(DiffError) -> TrainingRecipeEntry {
        let own = all.each.filter { $0.family.name == family }
        if let entry = own.each.first(where: { $0.methods.contains(method) }) { return entry }
        let has = own.flattened { $0.methods.map(\.rawValue) }
        let trained = all.each.filter { $0.methods.contains(method) }.map { $0.family.name }
        throw DiffError(
            .unsupported,
            "\(path): a model of the family \"\(family)\", which has no training \"\(method.rawValue)\"; "
                + (has.isEmpty ? "it has none" : "it has \(has.joined(separator: ", "))")
                + ", and \"\(method.rawValue)\" trains \(trained.joined(separator: ", "))")
    }
}

/// What a recipe is made of: the checkpoint, the settings, and what there is to work with.
final class RecipeInputs {
    let opened: Opened
    let settings: TrainerSettings
    let resources: LearningResources
    private let model: ModelOptions
    private let budget: MemoryBudget

    init(
        _ path: String, _ model: ModelOptions, _ settings: TrainerSettings, _ resources: LearningResources
    ) throws(DiffError) {
        let model = try model.forLearning(path)
        budget = if let given = resources.budget { given } else { try MemoryBudget() }
        opened = try Model.opened(path, model, budget)
        (self.model, self.settings, self.resources) = (model, settings, resources)
    }

    /// The tensors of `checkpoint`: for learning when there are parameters, else for inference.
    func weights(_ checkpoint: Checkpoint, _ parameters: Parameters?, lora: LoRAOptions? = nil) -> Weights {
        checkpoint.weights(loading(parameters, lora: lora))
    }

    /// The tensors of a pipeline's part for learning, with the updates that the model's options merge into them.
    func weights(_ part: Weights, _ parameters: Parameters) -> Weights {
        Weights(part.table, options: loading(parameters, updates: part.options.updates))
    }

    private func loading(
        _ parameters: Parameters?, lora: LoRAOptions? = nil, updates: WeightUpdates? = nil
    ) -> Weights.Options {
        var options = Weights.Options(
            budget: resources.budget, dryRun: resources.dryThreads != nil, pool: resources.pool,
            parameters: parameters, lora: lora, updates: updates)
        options.convolution = model.settings.convolution
        return options
    }

    /// The settings' teacher, opened with the options of the model, or with its own config. Throws `format` when there is none.
    func teacher(ownConfig: Bool = false) throws(DiffError) -> Opened {
        guard let path = settings.teacher else { throw settings.options.error("teacher", "distillation needs one") }
        var options = model
        if ownConfig { options.config = nil }
        return try Model.opened(path, options, budget)
    }

    /// The settings' data. Throws `format` when there are none.
    func data() throws(DiffError) -> DataSettings {
        guard let data = settings.data else { throw settings.options.error("data", "training needs data") }
        return data
    }

    /// What trained parameters are exported as: averages or last values.
    func exported(_ optimiser: Optimiser) -> [(names: [String], tensor: Tensor)] {
        optimiser.slots.map { slot in
            (names: slot.names, tensor: settings.exportsAverage ? slot.average ?? slot.parameter : slot.parameter)
        }
    }

    /// The error for a checkpoint of a training whose result is a plan.
    var hasNoCheckpoint: DiffError {
        DiffError(.unsupported, "what \"\(settings.method.rawValue)\" learns is a plan, no checkpoint")
    }

    /// The error for a plan of a training whose result are weights.
    var hasNoPlan: DiffError {
        DiffError(.unsupported, "what \"\(settings.method.rawValue)\" learns are weights: export a checkpoint")
    }
}

extension Checkpoint {
    /// Bytes of the largest tensor.
    var largestBytes: Int { tensors.names.each.reduce(0) { max($0, tensors.info($1)?.byteCount ?? 0) } }
}
