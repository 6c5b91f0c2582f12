import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Class-conditional DiT: the network, the process it was trained for, and what turns its latents into pixels.
struct DiTFamily: ModelFamily {
    static let name = "dit"
    static let forwardNames = (inputs: ["t", "x", "y"], outputs: ["out"])

    let network: DiT
    private let images: ImageSampling
    private let labels: [String]

    static func recognises(_ config: JSONObject) -> Bool {
        switch config.value("_class_name") {
        case .string("DiTTransformer2DModel"): true
        case .string("Transformer2DModel"): config.value("norm_type") == .string("ada_norm_zero")
        default: false
        }
    }

    init(_ opened: Opened) throws(DiffError) {
        let configuration = try DiTConfiguration(opened.architecture, conventions: opened.options.conventions)
        network = try DiT(configuration, opened.weights)
        labels = try opened.config.strings("labels", default: [])
        guard labels.isEmpty || labels.count == configuration.classes else {
            throw opened.config.error("labels", "\(labels.count) names for \(configuration.classes) classes")
        }
        let decoder: ImageDecoder? =
            try Self.makesPixels(opened.config) ? .pixels : ImageDecoder.autoencoder(opened)
        if case .latents(let autoencoder) = decoder,
            autoencoder.configuration.latentChannels != configuration.inChannels
        {
            throw DiffError(
                .incompatible,
                "the decoder takes \(autoencoder.configuration.latentChannels) latent channels, the model makes "
                    + "\(configuration.inChannels)")
        }
        images = ImageSampling(
            network: network, scheduler: try Self.scheduler(opened),
            guidance: try opened.config.number("cfg_scale", in: 0...1000, default: 4),
            guidanceChannels: try Self.guidanceChannels(opened, configuration), decoder: decoder)
    }

    /// The epsilon channels that are guided unless a request says otherwise.
    static func guidanceChannels(_ opened: Opened, _ c: DiTConfiguration) throws(DiffError) -> Int {
        guard c.conventions == .official else { return c.inChannels }
        return try opened.config.integer("cfg_channels", in: 1...max(1, c.inChannels), default: min(3, c.inChannels))
    }

    /// Whether the config's `output` says that the model works on pixels in -1 ... 1.
    private static func makesPixels(_ config: JSONObject) throws(DiffError) -> Bool {
        guard let output = try config.optionalObject("output") else { return false }
        let range = try output.numbers("range", in: -1e6...1e6, default: [-1, 1])
        guard range == [-1, 1] else { throw output.error("range", "only [-1, 1] is supported, found \(range)") }
        return try output.optionalString("kind", oneOf: ["pixels", "latents"]) == "pixels"
    }

    /// How the model is sampled unless a request says otherwise.
    static func scheduler(_ opened: Opened) throws(DiffError) -> SchedulerSettings {
        try SchedulerSettings(opened, spacing: opened.options.conventions == .diffusers ? "leading" : "even")
    }

    var layouts: [SiteLayout] { [network.layout] }
    var sampling: (any FamilySampling)? { images }

    var description: [String: JSON] {
        let c = network.configuration
        let side = JSON.integer(c.inputSize)
        return [
            "input": .array([.integer(c.inChannels), side, side]),
            "config": .object([
                "depth": .integer(c.depth), "hidden_size": .integer(c.width), "num_heads": .integer(c.heads),
                "patch_size": .integer(c.patchSize), "num_classes": .integer(c.classes),
                "learn_sigma": .bool(c.outChannels == 2 * c.inChannels), "layout": .string(c.naming.rawValue),
                "conventions": .string(c.conventions.rawValue),
            ]),
            "sampler": .string(images.scheduler.sampler.name),
            "prediction_type": .string(images.scheduler.process.prediction.rawValue),
            "guidance": .number(images.guidance),
            "guidance_channels": .integer(images.guidanceChannels),
            "null_class": c.nullClass.map { .integer($0) } ?? .null,
            "labels": .array(labels.map { .string($0) }),
            "decoder": .string(images.decoder?.name ?? "none"),
        ]
    }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        guard wanted.allSatisfy({ $0 == "out" }) else {
            throw DiffError(.invalidArgument, "no output \"\(wanted.first { $0 != "out" } ?? "")\"; a DiT has out")
        }
        let out = try network(inputs.tensor("x"), t: inputs.tensor("t"), y: inputs.integers("y"), run)
        return ["out": out]
    }
}
