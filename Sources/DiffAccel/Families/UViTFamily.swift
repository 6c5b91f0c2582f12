import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// U-ViT: class-conditional or not, of latents or pixels, sampled by DPM-Solver++(2S).
struct UViTFamily: ClassConditionalFamily {
    static let name = "uvit"

    static let rules = UViTConfiguration.rules

    private let network: UViT
    let common: ClassConditional

    /// The published configs have no class name; these three keys together are theirs alone.
    static func recognises(_ config: JSONObject) -> Bool {
        config.has("img_size") && config.has("mlp_time_embed") && config.has("embed_dim")
    }

    init(_ opened: Opened) throws(DiffError) {
        let c = try UViTConfiguration(opened.architecture)
        network = try UViT(c, opened.weights)
        // The official code writes c + s (c - u), which is a guidance scale of 1 + s; its s is 0.4, of 512 pixels 0.7.
        let scale = try opened.config.number(
            "cfg_scale", in: 0...1000,
            default: c.nullClass == nil ? 0 : c.patchSize == 4 && c.inChannels == 4 ? 0.7 : 0.4)
        common = try ClassConditional(
            opened, network, SinglestepSolver(process: try Self.process(opened)),
            classes: c.classRows &- (c.nullClass == nil ? 0 : 1), guidance: 1 + scale, guidanceChannels: c.inChannels)
    }

    /// Stable Diffusion's process, which the published models were trained for, with what the config's `schedule` says.
    static func process(_ opened: Opened) throws(DiffError) -> DiffusionProcess {
        var process = DiffusionProcess.stableDiffusion
        guard let c = try opened.config.optionalObject("schedule") else { return process }
        process.betaStart = try c.number("beta_start", in: 1e-9...0.999, default: process.betaStart)
        process.betaEnd = try c.number("beta_end", in: 1e-9...0.999, default: process.betaEnd)
        process.trainSteps = try c.integer("n", in: 1...1_000_000, default: process.trainSteps)
        return process
    }

    var description: [String: JSON] {
        let c = network.configuration
        return common.description([
            "depth": .integer(c.depth), "embed_dim": .integer(c.width), "num_heads": .integer(c.heads),
            "patch_size": .integer(c.patchSize), "num_classes": .integer(c.classRows),
            "conv": .bool(c.hasFinalConvolution),
            "mlp_time_embed": .bool(c.embedsTime), "skip": .bool(c.hasSkips),
        ])
    }
}
