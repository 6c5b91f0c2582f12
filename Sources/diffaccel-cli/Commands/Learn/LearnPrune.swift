import ArgumentParser
import DiffAccel

extension LearnCommand {
    /// `diffaccel learn prune`: which blocks to keep.
    struct Prune: TrainingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Decides which blocks to keep: by gates that learn (TinyFusion), or by a rule.",
            discussion: """
                Examples:
                  diffaccel learn prune Models/fashion-dit --data train.safetensors --pattern 1:2 --out pruned
                  diffaccel learn prune Models/fashion-dit --data train.safetensors --rule similarity --keep-count 6 \
                    --out-plan keep.json

                The checkpoint has the original weights; diffaccel learn finetune recovers what was lost.
                """)

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

        @OptionGroup var training: TrainingOptionGroup

        func validate() throws {
            try requireOutput()
            guard [pattern != nil, groups != nil, rule != nil].count(where: \.self) == 1 else {
                throw ValidationError("Give one of --pattern, --groups and --rule.")
            }
        }

        static let method = "prune"
        static let outputs = "--out FOLDER or --out-plan FILE.json"
        var plan: String? { outPlan }
        var folder: String? { out }

        var own: [String: JSON?] {
            [
                "pattern": pattern.map { .string($0) }, "groups": groups?.json,
                "update": update.map { .string($0) },
                "rule": rule.map { .string($0) }, "keep": keep?.json,
                "keep_count": keepCount.map { .integer($0) },
            ]
        }
    }
}
