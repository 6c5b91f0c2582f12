import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// A training of a model of some family: what learns, and what it gives. One conformance per family.
protocol Course {
    /// Tensors of the network that learns.
    var parameters: Parameters { get }
    /// How it learns.
    var procedure: any LearningProcedure { get }
    /// Bytes of weights that are not noted in `parameters`: a teacher's, or those of a network that does not learn.
    var otherWeights: Int { get }
    /// Bytes of the largest of them, which is in memory twice while it is put in order.
    var loading: Int { get }

    /// Opens the networks and sets up the procedure. With resources of a rehearsal nothing is read but descriptions.
    init(_ material: CourseMaterial) throws(DiffError)

    /// What was learned as a plan. Throws `unsupported` when it is none.
    func plan() throws(DiffError) -> Plan
    /// Writes a checkpoint folder. Throws `unsupported` when what was learned is none, `notFinite`, `io`.
    func export(to folder: String) throws(DiffError)
}

/// The trainings the library knows, by method. A new one is added here and nowhere else.
enum Courses {
    /// The training of the checkpoint at `path`. Throws `unsupported` when its family has no such method.
    static func open(
        _ path: String, _ model: ModelOptions, _ settings: TrainerSettings, _ resources: LearningResources
    ) throws(DiffError) -> any Course {
        let material = try CourseMaterial(path, model, settings, resources)
        let family = material.opened.family.name
        let trained = settings.method == .specialise ? VARFamily.name : DiTFamily.name
        guard family == trained else {
            throw DiffError(
                .unsupported,
                "\(path): a model of the family \"\(family)\"; \"\(settings.method.rawValue)\" trains \"\(trained)\" only"
            )
        }
        let course: any Course = settings.method == .specialise ? try VARCourse(material) : try DiTCourse(material)
        material.opened.ledger.report.log(path)
        return course
    }
}

/// What a course is made of: the checkpoint, the settings, and what there is to work with.
struct CourseMaterial {
    let opened: Opened
    let settings: TrainerSettings
    let resources: LearningResources
    private let model: ModelOptions
    private let budget: MemoryBudget

    init(
        _ path: String, _ model: ModelOptions, _ settings: TrainerSettings, _ resources: LearningResources
    ) throws(DiffError) {
        guard model.weights != .int8 else {
            throw DiffError(.unsupported, "\(path): int8 weights are for inference; learning keeps weights in f32")
        }
        budget = if let given = resources.budget { given } else { try MemoryBudget() }
        opened = try Model.opened(path, model, budget)
        (self.model, self.settings, self.resources) = (model, settings, resources)
    }

    /// The tensors of `checkpoint`: for learning when there are parameters, else for inference.
    func weights(_ checkpoint: Checkpoint, _ parameters: Parameters?, lora: LoRAOptions? = nil) -> Weights {
        checkpoint.weights(
            Weights.Options(
                budget: resources.budget, dryRun: resources.rehearsalThreads != nil, pool: resources.pool,
                parameters: parameters, lora: lora))
    }

    /// The settings' teacher, opened with the options of the model, or with its own config. Throws `format` when there is none.
    func teacher(ownConfig: Bool = false) throws(DiffError) -> Opened {
        guard let path = settings.teacher else { throw settings.json.error("teacher", "distillation needs one") }
        var options = model
        if ownConfig { options.config = nil }
        return try Model.opened(path, options, budget)
    }

    /// The settings' data. Throws `format` when there are none.
    func data() throws(DiffError) -> DataSettings {
        guard let data = settings.data else { throw settings.json.error("data", "training needs data") }
        return data
    }

    /// What trained parameters are exported as: averages or last values.
    func exported(_ optimiser: Optimiser) -> [(names: [String], tensor: Tensor)] {
        optimiser.slots.map { slot in
            (names: slot.names, tensor: settings.exportsAverage ? slot.average ?? slot.parameter : slot.parameter)
        }
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
