import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// Trainings of a VAR: specialised fine-tuning for collaborative decoding.
struct VARRecipe: TrainingRecipe {
    let parameters: Parameters
    let procedure: any LearningProcedure
    let otherWeights: Int
    let loading: Int
    private let inputs: RecipeInputs
    private let configuration: VARConfiguration
    private let learning: SpecialisationLearning

    init(_ inputs: RecipeInputs) throws(DiffError) {
        let (opened, settings) = (inputs.opened, inputs.settings)
        let own = try SpecialisationSettings(settings.options(TrainerSettings.specialisation))
        let c = try VARConfiguration(opened.architecture, opened.weights)
        let data = try inputs.data()
        // The keys' bias is a buffer of zeros.
        let parameters = Parameters { !$0.hasSuffix("zero_k_bias") }
        let student = try VAR(c, inputs.weights(opened.checkpoint, parameters))
        var sources = [opened]
        var teacher: VAR?
        if own.needsTeacher {
            let source = try inputs.teacher(ownConfig: true)
            sources.append(source)
            teacher = try locating(source.checkpoint.path) { () throws(DiffError) in
                try VAR(
                    VARConfiguration(source.architecture, source.weights), inputs.weights(source.checkpoint, nil))
            }
        }
        let codes = try Self.codes(sources, settings)
        let encoder = try locating(codes.path) { () throws(DiffError) in
            try ScaleEncoder(
                VQVAEFamily.configuration(codes, of: opened, for: c), inputs.weights(codes, nil),
                schedule: c.schedule,
                encodesPictures: data.kind == .images)
        }
        learning = try SpecialisationLearning(
            student, parameters, teacher: teacher, encoder, data: data.tokens(encoder, classes: c.classes &+ 1), own,
            inputs.resources)
        (self.inputs, self.parameters, configuration, procedure) = (inputs, parameters, c, learning)
        let others = teacher == nil ? nil : sources.last?.checkpoint
        otherWeights = Checked.sum(encoder.byteCount, others?.tensors.byteCount ?? 0)
        loading = max(others?.largestBytes ?? 0, data.kind == .images ? codes.largestBytes : 0)
    }

    /// The VQ-VAE that the settings name; else that of the model, its `vae` folder or the one in the options; else that of the teacher.
    private static func codes(_ sources: [Opened], _ settings: TrainerSettings) throws(DiffError) -> Checkpoint {
        if let path = settings.vae {
            return try Checkpoint.open(path: path, followingLinks: sources.first?.options.followLinks ?? false)
        }
        for source in sources.each {
            if let part = try source.autoencoder() { return part }
        }
        throw settings.options.error("vae", "neither model nor teacher has a VQ-VAE in a folder vae: name one")
    }

    func plan() throws(DiffError) -> Plan { throw inputs.hasNoPlan }

    func export(to folder: String) throws(DiffError) {
        let settings = learning.settings
        try VARExport(inputs.opened.checkpoint, configuration).write(
            inputs.exported(learning.optimiser), as: inputs.settings.exportType, folder: folder,
            notes: [
                "specialised": .object([
                    "role": .string(settings.role.rawValue), "draft_scales": .integer(settings.draftScales),
                    "steps": .integer(learning.done),
                ])
            ])
    }
}
