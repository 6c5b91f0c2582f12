import ArgumentParser
import DiffAccel

/// A subcommand of `diffaccel learn`: it says what is its own, the rest is common.
protocol TrainingCommand: ParsableCommand {
    /// The method in the settings of a trainer.
    static var method: String { get }
    /// How the outputs are named when none is given.
    static var outputs: String { get }
    var training: TrainingOptionGroup { get }
    /// Settings of the method; nil where an option was not given.
    var own: [String: JSON?] { get }
    /// The plan file and the checkpoint folder to write.
    var plan: String? { get }
    var folder: String? { get }
}

extension TrainingCommand {
    var plan: String? { nil }
    var folder: String? { nil }

    /// Throws unless something is to be written, or nothing is to be learned.
    func requireOutput() throws {
        guard plan != nil || folder != nil || training.learning.estimate else {
            throw ValidationError("\(Self.outputs) is missing.")
        }
    }

    func validate() throws { try requireOutput() }

    func run() throws {
        try TrainingRun(
            model: training.model, method: Self.method, options: training.learning, resources: training.resources,
            own: own, plan: plan, folder: folder
        ).run()
    }
}

/// What every subcommand takes: the model, how to learn, what with.
struct TrainingOptionGroup: ParsableArguments {
    @Argument(help: "Folder of the model.")
    var model: String

    @OptionGroup(title: "Learning") var learning: LearningOptionGroup
    @OptionGroup(title: "Resources") var resources: TrainerOptionGroup
}

/// What trainings of all weights take.
struct WeightsOptionGroup: ParsableArguments {
    @Option(help: "Folder for the trained checkpoint.")
    var out: String?

    @Option(help: "Folder of the teacher: the model whose outputs or distribution are learned.")
    var teacher: String?

    @Option(
        help:
            "AdamW's learning rate, constant (default: half a cosine, from 2e-4 to 1e-4; to specialise from 1e-4 to 1e-5)."
    )
    var learningRate: Double?

    @Option(help: "Type of the exported weights: f32, f16, bf16 or stored (default: f32).")
    var dtype: String?

    /// The settings of the options that were given.
    var settings: [String: JSON?] {
        [
            "teacher": teacher.map { .string($0) }, "learning_rate": learningRate.map { .number($0) },
            "dtype": dtype.map { .string($0) },
        ]
    }
}
