import ArgumentParser
import DiffAccel

extension LearnCommand {
    /// `diffaccel learn router`: Learning-to-Cache.
    struct Router: TrainingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Learns a Learning-to-Cache router: which sub-layers cached steps compute.",
            discussion: """
                Example: diffaccel learn router Models/fashion-dit --data train.safetensors --sampling-steps 20 \
                  --steps 2000 --out router.json --log train.jsonl

                Then diffaccel plan sweep shows what each threshold gives.
                """)

        @Option(help: "Plan file to write.")
        var out: String?

        @Option(help: "Sampling steps the router is for (default: 20; of a U-ViT 10).")
        var samplingSteps: Int?

        @Option(help: "One step in this many is a full one (default: 2).")
        var period: Int?

        @Option(help: "l1 penalty on scores: the larger, the more is skipped (default: 5e-6; of a U-ViT 0.1).")
        var l1: Double?

        @Option(help: "AdamW's learning rate (default: 1e-3).")
        var learningRate: Double?

        @Option(help: "Threshold of the plan (default: 0.1; of a U-ViT 0.9).")
        var threshold: Double?

        @Option(help: "States to learn from: data (as published) or own (the model's samples; needs no data).")
        var trajectory: String?

        @Option(help: "With the own trajectory: guidance scale of the sampling the router is for.")
        var guidance: Double?

        @Option(help: "Most memory that the plan may keep per network row, such as 64M.")
        var cacheLimit: ByteCount?

        @OptionGroup var training: TrainingOptionGroup

        static let method = "router"
        static let outputs = "--out FILE.json"
        var plan: String? { out }

        var own: [String: JSON?] {
            [
                "sampling_steps": samplingSteps.map { .integer($0) }, "period": period.map { .integer($0) },
                "l1": l1.map { .number($0) }, "learning_rate": learningRate.map { .number($0) },
                "threshold": threshold.map { .number($0) }, "trajectory": trajectory.map { .string($0) },
                "guidance": guidance.map { .number($0) }, "cache_limit": cacheLimit.map { .integer($0.bytes) },
            ]
        }
    }
}
