import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// Trainings of a VAR: specialised fine-tuning for collaborative decoding.
struct VARCourse: Course {
    let parameters: Parameters
    let procedure: any LearningProcedure
    let otherWeights: Int
    let loading: Int
    private let material: CourseMaterial
    private let configuration: VARConfiguration
    private let learning: SpecialisationLearning

    init(_ material: CourseMaterial) throws(DiffError) {
        let (opened, settings) = (material.opened, material.settings)
        let own = try SpecialisationSettings(settings.json)
        let c = try VARConfiguration(opened.architecture, opened.weights)
        let data = try material.data()
        // The keys' bias is a buffer of zeros.
        let parameters = Parameters { !$0.hasSuffix("zero_k_bias") }
        let student = try VAR(c, material.weights(opened.checkpoint, parameters))
        var sources = [opened]
        var teacher: VAR?
        if own.needsTeacher {
            let source = try material.teacher(ownConfig: true)
            sources.append(source)
            teacher = try locating(source.checkpoint.path) { () throws(DiffError) in
                try VAR(
                    VARConfiguration(source.architecture, source.weights), material.weights(source.checkpoint, nil))
            }
        }
        let codes = try Self.codes(sources, settings)
        let encoder = try locating(codes.path) { () throws(DiffError) in
            try ScaleEncoder(
                VQVAEFamily.configuration(codes, of: opened, for: c), material.weights(codes, nil),
                schedule: c.schedule,
                encodesPictures: data.kind == .images)
        }
        learning = try SpecialisationLearning(
            student, parameters, teacher: teacher, encoder, data: data.tokens(encoder, classes: c.classes &+ 1), own,
            material.resources)
        (self.material, self.parameters, configuration, procedure) = (material, parameters, c, learning)
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
        throw settings.json.error("vae", "neither model nor teacher has a VQ-VAE in a folder vae: name one")
    }

    func plan() throws(DiffError) -> Plan { throw material.hasNoPlan }

    func export(to folder: String) throws(DiffError) {
        let settings = learning.settings
        try VARExport(material.opened.checkpoint, configuration).write(
            material.exported(learning.optimiser), as: material.settings.exportType, folder: folder,
            notes: [
                "specialised": .object([
                    "role": .string(settings.role.rawValue), "draft_scales": .integer(settings.draftScales),
                    "steps": .integer(learning.done),
                ])
            ])
    }
}
