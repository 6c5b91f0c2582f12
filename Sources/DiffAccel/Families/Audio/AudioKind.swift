import DiffCheckpoint
import DiffModels
import DiffTensor

/// Which of the architectures a pipeline of sounds is.
enum AudioKind: String, Sendable {
    /// AudioLDM: the network is told CLAP's vector of a text.
    case audioldm
    /// AudioLDM 2: it reads what a language model makes of CLAP's vector and T5's states, and these states.
    case audioldm2

    private static let pipelines: [(kind: AudioKind, name: String)] = [
        (.audioldm2, "AudioLDM2Pipeline"), (.audioldm, "AudioLDMPipeline"),
    ]

    /// The classes of diffusers that are known.
    static var pipelineNames: [String] { pipelines.map { $0.name } }

    /// That of a class of diffusers; nil for another one.
    init?(pipeline name: String) {
        guard let found = Self.pipelines.each.first(where: { $0.name == name }) else { return nil }
        self = found.kind
    }

    /// That of a checkpoint.
    init(_ opened: Opened) throws(DiffError) {
        let name = try opened.config.optionalString("_class_name") ?? ""
        guard let kind = Self(pipeline: name) else {
            throw DiffError(
                .unsupported,
                "\(opened.config.place(of: "_class_name")): \(name.prefix(100)) is not supported; known are "
                    + Self.pipelineNames.joined(separator: ", "))
        }
        self = kind
    }

    /// Guidance, steps and seconds where a request says nothing: those of diffusers' pipelines.
    var guidance: Double { self == .audioldm2 ? 3.5 : 2.5 }
    var steps: Int { self == .audioldm2 ? 200 : 10 }

    /// The scheduler of the published models, for a checkpoint that has none.
    static var scheduler: JSON {
        let said: [(name: String, value: JSON)] = [
            ("_class_name", "DDIMScheduler"), ("num_train_timesteps", 1000), ("beta_start", 0.0015),
            ("beta_end", 0.0195), ("beta_schedule", "scaled_linear"), ("clip_sample", false),
            ("set_alpha_to_one", false), ("steps_offset", 1), ("prediction_type", "epsilon"),
        ]
        var members: [String: JSON] = [:]
        for (name, value) in said.each { members.put(value, for: name) }
        return .object(members)
    }
}
