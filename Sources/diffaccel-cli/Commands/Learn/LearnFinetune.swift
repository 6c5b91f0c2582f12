import ArgumentParser
import DiffAccel

extension LearnCommand {
    /// `diffaccel learn finetune`: weights.
    struct Finetune: TrainingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Trains the weights of a model, with or without a teacher.",
            discussion: """
                Example: diffaccel learn finetune pruned --data train.safetensors --distillation masked \
                  --teacher Models/fashion-dit --groups 1:2x6 --steps 20000 --state tune.safetensors --out tuned
                """)

        @Option(help: "What a teacher adds: none, logits (its outputs) or masked (its block outputs too).")
        var distillation: String?

        @Option(help: "Of masked: the groups that the model was pruned by, such as 1:2x6.")
        var groups: BlockGroups?

        @OptionGroup(title: "Weights") var weights: WeightsOptionGroup
        @OptionGroup var training: TrainingOptionGroup

        static let method = "finetune"
        static let outputs = "--out FOLDER"
        var folder: String? { weights.out }

        var own: [String: JSON?] {
            weights.settings.merging([
                "distillation": distillation.map { .string($0) },
                "groups": groups?.json,
            ]) { $1 }
        }
    }
}
