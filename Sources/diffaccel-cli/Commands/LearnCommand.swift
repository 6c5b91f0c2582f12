import ArgumentParser
import DiffAccel

/// `diffaccel learn`: routers, pruned networks and weights from data.
struct LearnCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "learn",
        abstract: "Learns which work can be skipped, or weights.",
        discussion: """
            Examples:
              diffaccel learn router Models/fashion-dit --data train.safetensors --steps 2000 --out router.json
              diffaccel learn prune Models/fashion-dit --data train.safetensors --pattern 1:2 --out pruned
              diffaccel learn finetune pruned --data train.safetensors --distillation masked \
                --teacher Models/fashion-dit --groups 1:2x6 --out tuned
              diffaccel learn specialise var-d16 --role refiner --draft-scales 8 --teacher var-d30 \
                --tokens tokens.npy --labels labels.npy --out refiner

            The first Ctrl-C stops after the step at hand and keeps the state; the same command with --resume goes on, bit for \
            bit as if it had never stopped. The second one ends the program at once.
            """,
        subcommands: [Router.self, Prune.self, Finetune.self, Specialise.self])

    /// `diffaccel learn router`: Learning-to-Cache.
    struct Router: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Learns a Learning-to-Cache router: which sub-layers cached steps compute.",
            discussion: """
                Example: diffaccel learn router Models/fashion-dit --data train.safetensors --sampling-steps 20 \
                  --steps 2000 --out router.json --log train.jsonl

                Then diffaccel plan sweep shows what each threshold gives.
                """)

        @Argument(help: "Folder of the model.")
        var model: String

        @Option(help: "Plan file to write.")
        var out: String?

        @Option(help: "Sampling steps the router is for (default: 20).")
        var samplingSteps: Int?

        @Option(help: "One full step in so many (default: 2).")
        var period: Int?

        @Option(help: "Price of computing: the larger, the more is skipped (default: 5e-6).")
        var l1: Double?

        @Option(help: "AdamW's learning rate (default: 1e-3).")
        var learningRate: Double?

        @Option(help: "Threshold of the plan (default: 0.1).")
        var threshold: Double?

        @Option(help: "States to learn from: data (as published) or own (the model's samples; needs no data).")
        var trajectory: String?

        @Option(help: "With the own trajectory: guidance scale of the sampling the router is for.")
        var guidance: Double?

        @Option(help: "Most memory that the plan may keep per network row, such as 64M.")
        var cacheLimit: ByteCount?

        @OptionGroup(title: "Learning") var learning: LearningOptionGroup
        @OptionGroup(title: "Resources") var resources: TrainerOptionGroup

        func validate() throws {
            guard out != nil || learning.estimate else { throw ValidationError("--out FILE.json is missing.") }
        }

        func run() throws {
            try Lesson(
                model: model, method: "router", options: learning, resources: resources,
                own: [
                    "sampling_steps": samplingSteps.map { .integer($0) }, "period": period.map { .integer($0) },
                    "l1": l1.map { .number($0) }, "learning_rate": learningRate.map { .number($0) },
                    "threshold": threshold.map { .number($0) }, "trajectory": trajectory.map { .string($0) },
                    "guidance": guidance.map { .number($0) }, "cache_limit": cacheLimit.map { .integer($0.bytes) },
                ], plan: out, folder: nil
            ).run()
        }
    }

    /// `diffaccel learn prune`: which blocks to keep.
    struct Prune: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Decides which blocks to keep: by gates that learn (TinyFusion), or by a rule.",
            discussion: """
                Examples:
                  diffaccel learn prune Models/fashion-dit --data train.safetensors --pattern 1:2 --out pruned
                  diffaccel learn prune Models/fashion-dit --data train.safetensors --rule similarity --keep-count 6 \
                    --out-plan keep.json

                The checkpoint has the original weights; diffaccel learn finetune recovers what was lost.
                """)

        @Argument(help: "Folder of the model.")
        var model: String

        @Option(help: "Folder for the pruned checkpoint.")
        var out: String?

        @Option(help: "Plan file with the blocks to keep, for the whole model.")
        var outPlan: String?

        @Option(help: ArgumentHelp("Learned: N of M blocks everywhere.", valueName: "N:M"))
        var pattern: String?

        @Option(help: "Learned: groups of blocks, such as 1:2x6 or 1:2,2:3.")
        var groups: BlockGroups?

        @Option(help: "Learned: what moves beside the gates: lora, full or gates (default: lora).")
        var update: String?

        @Option(help: "By a rule: index, pairs, similarity, change, sensitivity or random.")
        var rule: String?

        @Option(help: "Of the rule index: the blocks to keep, such as 0,2,5-8.")
        var keep: BlockList?

        @Option(help: "By a rule: how many blocks to keep (default: half).")
        var keepCount: Int?

        @OptionGroup(title: "Learning") var learning: LearningOptionGroup
        @OptionGroup(title: "Resources") var resources: TrainerOptionGroup

        func validate() throws {
            guard out != nil || outPlan != nil || learning.estimate else {
                throw ValidationError("--out FOLDER or --out-plan FILE.json is missing.")
            }
            guard [pattern != nil, groups != nil, rule != nil].count(where: \.self) == 1 else {
                throw ValidationError("Give one of --pattern, --groups and --rule.")
            }
        }

        func run() throws {
            try Lesson(
                model: model, method: "prune", options: learning, resources: resources,
                own: [
                    "pattern": pattern.map { .string($0) }, "groups": groups?.json,
                    "update": update.map { .string($0) },
                    "rule": rule.map { .string($0) }, "keep": keep?.json,
                    "keep_count": keepCount.map { .integer($0) },
                ], plan: outPlan, folder: out
            ).run()
        }
    }

    /// `diffaccel learn finetune`: weights.
    struct Finetune: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Trains the weights of a model, with or without a teacher.",
            discussion: """
                Example: diffaccel learn finetune pruned --data train.safetensors --distillation masked \
                  --teacher Models/fashion-dit --groups 1:2x6 --steps 20000 --state tune.safetensors --out tuned
                """)

        @Argument(help: "Folder of the model.")
        var model: String

        @Option(help: "Folder for the trained checkpoint.")
        var out: String?

        @Option(help: "What a teacher adds: none, logits (its outputs) or masked (its block outputs too).")
        var distillation: String?

        @Option(help: "Folder of the teacher.")
        var teacher: String?

        @Option(help: "Of masked: the groups that the model was pruned by, such as 1:2x6.")
        var groups: BlockGroups?

        @Option(help: "AdamW's learning rate, constant (default: half a cosine from 2e-4 to 1e-4).")
        var learningRate: Double?

        @Option(help: "Type of the exported weights: f32, f16, bf16 or stored (default: f32).")
        var dtype: String?

        @OptionGroup(title: "Learning") var learning: LearningOptionGroup
        @OptionGroup(title: "Resources") var resources: TrainerOptionGroup

        func validate() throws {
            guard out != nil || learning.estimate else { throw ValidationError("--out FOLDER is missing.") }
        }

        func run() throws {
            try Lesson(
                model: model, method: "finetune", options: learning, resources: resources,
                own: [
                    "distillation": distillation.map { .string($0) }, "teacher": teacher.map { .string($0) },
                    "groups": groups?.json, "learning_rate": learningRate.map { .number($0) },
                    "dtype": dtype.map { .string($0) },
                ], plan: nil, folder: out
            ).run()
        }
    }
}
