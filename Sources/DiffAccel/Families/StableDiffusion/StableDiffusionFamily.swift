import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Stable Diffusion: pipelines that draw what a prompt says.
struct StableDiffusionFamily: ModelFamily {
    static let name = "stable_diffusion"
    static let isPipeline = true
    static let forwardNames = (
        inputs: ["encoder_hidden_states", "sample", "text_embeds", "time_ids", "timestep"], outputs: ["out"]
    )

    static let rules = FileRules.stableDiffusion

    let images: PromptImages
    private let kind: StableDiffusionKind
    private let unused: [String]
    /// Elements of all parts.
    let parameters: Int?

    static func recognises(_ config: JSONObject) -> Bool {
        guard case .string(let name)? = config.value("_class_name") else { return false }
        return StableDiffusionKind(pipeline: name) != nil
    }

    init(_ opened: Opened) throws(DiffError) {
        try opened.options.settings.refuse(["heads"], of: Self.name)
        let parts = try StableDiffusionParts(opened)
        let kind = try StableDiffusionKind(parts)
        var elements = 0
        let network: any ConditionedDenoiser
        if kind.isFlow {
            let part = try parts.required("transformer", MMDiTConfiguration.rules)
            network = try MMDiT(MMDiTConfiguration(part.config), part.weights)
            elements = part.parameters
        } else {
            let part = try parts.required("unet", UNetConfiguration.rules)
            network = try UNet(UNetConfiguration(part.config), part.weights)
            elements = part.parameters
        }
        let conditioner = try StableDiffusionText.conditioner(kind, parts, network, &elements)
        let pictures = try StableDiffusionPictures(opened, parts, network, &elements)
        let solver = try StableDiffusionSolvers.solver(kind, opened, parts)
        images = PromptImages(
            network, conditioner, solver, autoencoder: pictures.autoencoder, decoder: pictures.decoder,
            channels: pictures.channels, factor: pictures.factor, guidance: kind.guidance(network),
            steps: kind.steps(network), spacesByStrength: StableDiffusionKind.spacesByStrength(opened.config),
            name: PictureParameters.name(ofModel: opened.checkpoint.path))
        (self.kind, unused, parameters) = (kind, try parts.unused(), elements)
    }

    var layouts: [SiteLayout] { [images.network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(images.network) }
    var sampling: (any FamilySampling)? { images }

    var description: [String: JSON] {
        let network = images.network
        var encoders: [JSON] = images.conditioner.parts.map { .string($0.name) }
        if images.conditioner.t5 != nil { encoders.append("text_encoder_3") }
        return [
            "input": .array([.integer(images.channels), .integer(network.side), .integer(network.side)]),
            "kind": .string(kind.rawValue), "side": .integer(network.side &* images.factor),
            "sampler": .string(images.solver.standard),
            "samplers": .array(type(of: images.solver).samplers.map { .string($0) }),
            "prediction_type": .string(images.solver.prediction), "guidance": .number(images.guidance),
            "text_encoders": .array(encoders), "decoder": .string(images.decoder?.name ?? "none"),
            "encoder": .bool(images.autoencoder?.hasEncoder ?? false), "inpainting": .bool(images.paintsIn),
            "unused_parts": .array(unused.map { .string($0) }),
        ]
    }

    func evaluate(dry run: Run) throws(DiffError) {
        let network = images.network
        try network.evaluate(dry: run)
        guard let decoder = images.decoder else { return }
        let state = try run.workspace.take(Shape(1, images.channels, network.side, network.side))
        _ = try decoder.decodeOne(state, run)
    }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        guard wanted.allSatisfy({ $0 == "out" }) else {
            throw DiffError(
                .invalidArgument, "no output \"\(wanted.first { $0 != "out" } ?? "")\"; a pipeline's network has out")
        }
        var told = Conditioning(states: try inputs.tensor("encoder_hidden_states"))
        told.pooled = inputs.tensors["text_embeds"]
        told.sizes = inputs.tensors["time_ids"]
        let prepared = try images.network.prepare(told, run)
        return ["out": try images.network(inputs.tensor("sample"), t: inputs.tensor("timestep"), prepared, run)]
    }
}
