import DiffCheckpoint
import DiffModels
import DiffTensor

/// The KL autoencoder as a model of its own: latents to images and back.
struct AutoencoderFamily: ModelFamily {
    static let name = "autoencoder_kl"
    static let forwardNames = (inputs: ["latents", "image"], outputs: ["image", "moments"])

    let autoencoder: Autoencoder

    static let rules = AutoencoderConfiguration.rules

    static func recognises(_ config: JSONObject) -> Bool {
        guard let name = config.value("_class_name") else {
            // In the original code's words a multi-scale VQ-VAE has the same levels, but neither these settings nor a scale.
            let own = ["embed_dim", "scale", "scaling_factor", "attn_resolutions", "encoder_attn_resolutions"]
            return config.has("latent_channels") && config.has("block_out_channels")
                || config.has("ch_mult") && own.each.contains { config.has($0) }
        }
        return name == .string("AutoencoderKL")
    }

    init(_ opened: Opened) throws(DiffError) {
        autoencoder = try Autoencoder(AutoencoderConfiguration(opened.architecture), opened.weights)
    }

    var layouts: [SiteLayout] { [autoencoder.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(autoencoder) }

    var description: [String: JSON] {
        let c = autoencoder.configuration
        return [
            "input": .object([
                "latents": .array([.integer(c.latentChannels)]), "image": .array([.integer(c.inChannels)]),
            ]),
            "scaling_factor": .number(Double(c.scalingFactor)),
            "encoder": .bool(autoencoder.hasEncoder), "decoder": .bool(autoencoder.hasDecoder),
        ]
    }

    func evaluate(dry run: Run) throws(DiffError) { try autoencoder.evaluate(dry: run) }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        var outputs: [String: Tensor] = [:]
        for name in wanted {
            switch name {
            case "image": outputs[name] = try autoencoder.decode(inputs.tensor("latents"), run)
            case "moments": outputs[name] = try autoencoder.encode(inputs.tensor("image"), run)
            default: throw DiffError(.invalidArgument, "no output \"\(name)\"; an autoencoder has image and moments")
            }
        }
        return outputs
    }
}
