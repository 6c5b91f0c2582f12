import ArgumentParser
import DiffAccel

extension LearnCommand {
    /// `diffaccel learn specialise`: a drafter or a refiner of CoDe.
    struct Specialise: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fine-tunes a VAR for its part of collaborative decoding (CoDe): as drafter or as refiner.",
            discussion: """
                Examples:
                  diffaccel learn specialise var-d30 --role drafter --draft-scales 8 --data train.safetensors --out drafter
                  diffaccel learn specialise var-d16 --role refiner --draft-scales 8 --teacher var-d30 \
                    --images pictures.npy --labels labels.npy --out refiner
                  diffaccel sample drafter --plan code.json --labels 207,980 --out grid.png

                with code.json {"method": "code", "refiner": "refiner", "draft_scales": 8} beside the folder refiner. Pictures are \
                encoded again in every epoch: codes that are stored save that time.
                """)

        /// Of the checkpoint in CoDe.
        enum Role: String, ExpressibleByArgument, CaseIterable {
            case drafter, refiner
        }

        @Argument(help: "Folder of the model.")
        var model: String

        @Option(help: "Folder for the trained checkpoint.")
        var out: String?

        @Option(help: "What the model will do: draw the first scales (drafter) or the others (refiner).")
        var role: Role

        @Option(help: "Scales that the drafter draws.")
        var draftScales: Int

        @Option(help: "Of a refiner: folder of the VAR whose distribution it learns.")
        var teacher: String?

        @Option(help: "Of a refiner: share of the divergence from the teacher, the rest is cross-entropy (default: 1).")
        var alpha: Double?

        @Option(help: "Of a refiner: temperature of the divergence (default: 1).")
        var temperature: Double?

        @Option(help: "Folder of the VQ-VAE, when neither model nor teacher has one.")
        var vae: String?

        @Option(help: "AdamW's learning rate, constant (default: half a cosine from 1e-4 to 1e-5).")
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
                model: model, method: "specialise", options: learning, resources: resources,
                own: [
                    "role": .string(role.rawValue), "draft_scales": .integer(draftScales),
                    "teacher": teacher.map { .string($0) }, "alpha": alpha.map { .number($0) },
                    "temperature": temperature.map { .number($0) }, "vae": vae.map { .string($0) },
                    "learning_rate": learningRate.map { .number($0) }, "dtype": dtype.map { .string($0) },
                ], plan: nil, folder: out
            ).run()
        }
    }
}
