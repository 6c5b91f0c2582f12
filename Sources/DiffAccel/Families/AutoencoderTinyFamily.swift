import DiffCheckpoint
import DiffModels
import DiffTensor

/// A tiny autoencoder (TAESD) as a model of its own: latents to images and back.
struct AutoencoderTinyFamily: ModelFamily {
    static let name = "autoencoder_tiny"
    static let forwardNames = (inputs: ["image", "latents"], outputs: ["image", "latents"])

    let autoencoder: AutoencoderTiny

    static let rules = AutoencoderTinyConfiguration.rules

    static func recognises(_ config: JSONObject) -> Bool {
        config.value("_class_name") == .string("AutoencoderTiny")
    }

    init(_ opened: Opened) throws(DiffError) {
        autoencoder = try AutoencoderTiny(AutoencoderTinyConfiguration(opened.architecture), opened.weights)
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
        for name in wanted.each {
            switch name {
            case "image": outputs.put(try autoencoder.decode(inputs.tensor("latents"), run), for: name)
            case "latents": outputs.put(try autoencoder.latents(inputs.tensor("image"), run), for: name)
            default:
                throw DiffError(.invalidArgument, "no output \"\(name)\"; a tiny autoencoder has image and latents")
            }
        }
        return outputs
    }
}
