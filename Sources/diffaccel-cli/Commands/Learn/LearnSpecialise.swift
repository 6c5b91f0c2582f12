import ArgumentParser
import DiffAccel

extension LearnCommand {
    /// `diffaccel learn specialise`: a drafter or a refiner of CoDe.
    struct Specialise: TrainingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fine-tunes a VAR for its role in collaborative decoding (CoDe): as drafter or as refiner.",
            discussion: """
                Examples:
                  diffaccel learn specialise var-d30 --role drafter --draft-scales 8 --data train.safetensors --out drafter
                  diffaccel learn specialise var-d16 --role refiner --draft-scales 8 --teacher var-d30 \
                    --images pictures.npy --labels labels.npy --out refiner
                  diffaccel sample drafter --plan code.json --labels 207,980 --out grid.png

                with code.json {"method": "code", "refiner": "refiner", "draft_scales": 8} beside the folder refiner. Images are \
                encoded again in every epoch; stored codes save that time.
                """)

        /// Of the checkpoint in CoDe.
        enum Role: String, ExpressibleByArgument, CaseIterable {
            case drafter, refiner
        }

        @Option(help: "What the model will do: draw the first scales (drafter) or the others (refiner).")
        var role: Role

        @Option(help: "Scales that the drafter draws.")
        var draftScales: Int

        @Option(
            help: "Of a refiner: weight of the divergence from the teacher, cross-entropy has the rest (default: 1).")
        var alpha: Double?

        @Option(help: "Of a refiner: temperature of the divergence (default: 1).")
        var temperature: Double?

        @Option(help: "Folder of the VQ-VAE, when neither model nor teacher has one.")
        var vae: String?

        @OptionGroup(title: "Weights") var weights: WeightsOptionGroup
        @OptionGroup var training: TrainingOptionGroup

        static let method = "specialise"
        static let outputs = "--out FOLDER"
        var folder: String? { weights.out }

        var own: [String: JSON?] {
            weights.settings.merging([
                "role": .string(role.rawValue), "draft_scales": .integer(draftScales),
                "alpha": alpha.map { .number($0) },
                "temperature": temperature.map { .number($0) }, "vae": vae.map { .string($0) },
            ]) { $1 }
        }
    }
}
