import DiffCheckpoint
import DiffTensor

/// An `AutoencoderKL` in a single file, in the original layout or in diffusers': both are read by ``Autoencoder``.
enum OriginalAutoencoder {
    /// The prefixes under which it may stand in a file with other parts.
    static let prefixes = ["first_stage_model.", "vae."]

    /// How latents are scaled; no shape tells.
    struct Scaling {
        var factor: Double
        var shift: Double?

        static let latentDiffusion = Scaling(factor: 0.18215)
        static let xl = Scaling(factor: 0.13025)
        static let sd3 = Scaling(factor: 1.5305, shift: 0.0609)
    }

    /// The autoencoder at `prefix`; nil when there is none. What its training had besides is left out and told.
    static func part(
        _ table: TensorTable, _ prefix: String, _ scaling: Scaling?
    ) throws(DiffError) -> (part: SingleFilePart, ignored: [String])? {
        func shape(_ name: String) -> Shape? { table.info(prefix + name)?.shape }
        guard let input = shape("decoder.conv_in.weight"), input.rank == 4 else { return nil }
        let isOriginal = shape("decoder.mid.block_1.conv1.weight") != nil
        guard isOriginal || shape("decoder.mid_block.resnets.0.conv1.weight") != nil else { return nil }
        let (up, block) = isOriginal ? ("up", "block") : ("up_blocks", "resnets")
        var channels: [JSON] = []
        var layers = 0
        while channels.count < 64, let first = shape("decoder.\(up).\(channels.count).\(block).0.conv1.weight") {
            channels.append(.integer(first[0]))
        }
        // From the finest level on, as the original layout numbers them.
        if !isOriginal { channels = channels.reversed() }
        while layers < Limits.layers, shape("decoder.\(up).0.\(block).\(layers).conv1.weight") != nil { layers &+= 1 }
        let latents = input[1]
        let scaling = scaling ?? (latents == 16 ? .sd3 : .latentDiffusion)
        let levels = channels.count
        var config: JSON = [
            "_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": .array(channels),
            "down_block_types": .array(Array(repeating: "DownEncoderBlock2D", count: levels)),
            "in_channels": .integer(shape("encoder.conv_in.weight")?[1] ?? 3),
            "latent_channels": .integer(latents), "layers_per_block": .integer(max(1, layers &- 1)),
            "norm_num_groups": 32, "out_channels": .integer(shape("decoder.conv_out.weight")?[0] ?? 3),
            "scaling_factor": .number(scaling.factor),
            "up_block_types": .array(Array(repeating: "UpDecoderBlock2D", count: levels)),
            "use_post_quant_conv": .bool(shape("post_quant_conv.weight") != nil),
            "use_quant_conv": .bool(shape("quant_conv.weight") != nil),
        ]
        if let shift = scaling.shift { config = config.setting("shift_factor", .number(shift)) }
        var (ignored, sources): ([String], [String: TensorSource]) = ([], [:])
        for name in table.names.each {
            guard let rest = name.without(prefix: prefix) else { continue }
            if rest.hasPrefix("loss.") || rest.hasPrefix("model_ema.") {
                ignored.append(name)
            } else {
                sources.put(TensorSource(name), for: rest)
            }
        }
        let tensors = try table.renamed(sources) { prefix + $0 }
        return (SingleFilePart(config: config, tensors: tensors), ignored)
    }
}
