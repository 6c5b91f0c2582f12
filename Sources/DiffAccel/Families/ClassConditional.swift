import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// A family of class-conditional denoisers: all that it does is what they have in common.
protocol ClassConditionalFamily: ModelFamily {
    var common: ClassConditional { get }
}

extension ClassConditionalFamily {
    static var forwardNames: (inputs: [String], outputs: [String]) { (["t", "x", "y"], ["out"]) }

    var classes: ClassNames { common.classes }
    var layouts: [SiteLayout] { [common.images.network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(common.images.network) }
    var sampling: (any FamilySampling)? { common.images }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        try common.forward(inputs, wanted: wanted, run)
    }
}

/// What families of class-conditional denoisers have in common: names of classes, guidance, and what makes pixels of the state.
struct ClassConditional {
    let classes: ClassNames
    let images: ImageSampling

    /// Reads the common keys of the config. `guidance` and `guidanceChannels` are the family's own. Throws `format`, `incompatible`, and what
    /// opening the decoder throws.
    init(
        _ opened: Opened, _ network: any Denoiser, _ solver: any ImageSolver, classes: Int, guidance: Double,
        guidanceChannels: Int
    ) throws(DiffError) {
        self.classes = try ClassNames(opened, classes: classes)
        let decoder: (any StateDecoder)? =
            try Self.makesPixels(opened.config)
            ? PixelDecoder() : LatentDecoder.beside(opened, channels: network.channels)
        images = ImageSampling(
            network: network, solver: solver, guidance: guidance, guidanceChannels: guidanceChannels, decoder: decoder,
            classes: self.classes)
    }

    /// Whether the config's `output` says that the model works on pixels in -1 ... 1.
    private static func makesPixels(_ config: JSONObject) throws(DiffError) -> Bool {
        guard let output = try config.optionalObject("output") else { return false }
        let range = try output.numbers("range", in: -1e6...1e6, default: [-1, 1])
        guard range == [-1, 1] else { throw output.error("range", "only [-1, 1] is supported, found \(range)") }
        return try output.optionalString("kind", oneOf: ["pixels", "latents"]) == "pixels"
    }

    /// The common part of what `describe` tells, with the family's `config`.
    func description(_ config: [String: JSON]) -> [String: JSON] {
        let network = images.network
        return [
            "input": .array([.integer(network.channels), .integer(network.side), .integer(network.side)]),
            "config": .object(config),
            "sampler": .string(images.solver.standard),
            "samplers": .array(type(of: images.solver).samplers.map { .string($0) }),
            "prediction_type": .string(images.solver.prediction),
            "guidance": .number(images.guidance),
            "guidance_channels": .integer(images.guidanceChannels),
            "null_class": network.nullClass.map { .integer($0) } ?? .null,
            "labels": classes.json,
            "decoder": .string(images.decoder?.name ?? "none"),
        ]
    }

    /// One raw evaluation: `x`, `t` and, of a conditional network, `y` give `out`.
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        guard wanted.allSatisfy({ $0 == "out" }) else {
            throw DiffError(
                .invalidArgument, "no output \"\(wanted.first { $0 != "out" } ?? "")\"; a denoiser has out")
        }
        let network = images.network
        let y = network.classRows > 0 ? try inputs.integers("y") : []
        return ["out": try network(inputs.tensor("x"), t: inputs.tensor("t"), y: y, run)]
    }
}
