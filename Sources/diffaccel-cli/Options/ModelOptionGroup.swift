public import ArgumentParser
import DiffAccel
public import DiffAcceleration
public import DiffCheckpoint
public import DiffModels

extension DiTConventions: ExpressibleByArgument {}
extension WeightType: ExpressibleByArgument {}
extension ModelSettings.TextEncoders: ExpressibleByArgument {}
extension ConvolutionMethod: ExpressibleByArgument {}
extension PrecisionChoice: ExpressibleByArgument {}
extension AsyncPlan.Executor: ExpressibleByArgument {}

/// `FILE`, or `FILE:SCALE`.
struct LoRAFile: ExpressibleByArgument {
    let update: ModelSettings.LoRA

    init?(argument: String) {
        guard !argument.isEmpty else { return nil }
        if let colon = argument.lastIndex(of: ":"), let scale = Double(argument[argument.index(after: colon)...]) {
            update = ModelSettings.LoRA(String(argument[..<colon]), scale: scale)
        } else {
            update = ModelSettings.LoRA(argument)
        }
    }
}

/// `config`, or `channels/32` and the like.
struct HeadCount: ExpressibleByArgument {
    let heads: ModelSettings.Heads

    init?(argument: String) {
        guard let heads = ModelSettings.Heads(argument) else { return nil }
        self.heads = heads
    }
}

/// How a checkpoint is opened.
struct ModelOptionGroup: ParsableArguments {
    @Option(help: "Folder of the autoencoder that turns latents into images (default: the model's vae folder).")
    var decoder: String?

    @Option(help: "JSON file to read instead of the model's config.json; a weight file alone needs one.")
    var config: String?

    @Option(
        help:
            "Whose published code a DiT follows: official or diffusers (default: official, unless it was trained in diffusers)."
    )
    var conventions: DiTConventions?

    @Option(help: "How weights are kept in memory: stored (the file's type), f32 or int8 (a scale for each output).")
    var weights: WeightType?

    @Flag(help: "Follow symbolic links inside folders of models, as download caches have them.")
    var followLinks = false

    @Option(help: "Language models: the mask token, where the config names none or another one is wanted.")
    var maskToken: Int?

    @Option(
        name: .customLong("lora"),
        help: "Stable Diffusion: a file of low-rank updates to merge, FILE or FILE:SCALE; again for more.")
    var lora: [LoRAFile] = []

    @Option(
        help:
            "Stable Diffusion: keep text encoders resident, or load them on_demand for each request (default: resident)."
    )
    var textEncoders: ModelSettings.TextEncoders?

    @Flag(name: .customLong("no-t5"), help: "Stable Diffusion 3: leave its third text encoder out.")
    var noT5 = false

    @Option(help: "Which variant of a pipeline's weight files is read, such as fp16.")
    var variant: String?

    @Option(
        help: "Stable Diffusion: epsilon or v_prediction, where a single file does not say what the network predicts.")
    var predictionType: String?

    @Option(help: "Stable Diffusion: folder of the tokenizers, of a checkpoint that has none.")
    var tokenizer: String?

    @Option(
        help:
            "AudioLDM: attention heads, config (as diffusers computes) or channels/32 and the like (as the original was trained; default: config)."
    )
    var heads: HeadCount?

    @Option(
        help:
            "How 3 x 3 convolutions, and those of vocoders, are computed: auto (the faster one), direct or winograd (default: auto)."
    )
    var convolution: ConvolutionMethod?

    @Option(
        help:
            "What linear layers, direct convolutions and attention multiply in: f32, bf16 (with f32 sums, where the processor has the instructions) or auto, bf16 where it has them (default: f32)."
    )
    var precision: PrecisionChoice?

    /// Opens the model at `path`; of the ranks of a plan each has what it computes, and the decoder too where `allDecode`.
    func open(_ path: String, ranks: Plan? = nil, allDecode: Bool = false) throws(DiffError) -> Model {
        var options = options
        (options.settings.ranks, options.settings.ranksDecode) = (ranks?.json, allDecode)
        if let config { options.config = try JSON(contentsOf: config) }
        return try Model(path, options)
    }

    /// Opens the model at `path` that works beside another one.
    func openPartner(_ path: String) throws(DiffError) -> Model { try Model(path, options.forPartner) }

    private var options: ModelOptions {
        var options = ModelOptions()
        options.decoder = decoder
        options.conventions = conventions?.rawValue
        if let weights { options.weights = weights }
        options.followLinks = followLinks
        options.maskToken = maskToken
        options.settings.lora = lora.map(\.update)
        if let textEncoders { options.settings.textEncoders = textEncoders }
        options.settings.usesT5 = !noT5
        (options.settings.variant, options.settings.prediction) = (variant, predictionType)
        options.settings.tokenizer = tokenizer
        if let heads { options.settings.heads = heads.heads }
        if let convolution { options.settings.convolution = convolution }
        if let precision { options.settings.precision = precision }
        return options
    }
}

/// The second model of plans that need one.
struct PartnerOptionGroup: ParsableArguments {
    @Option(
        help: "Folder of the second model of a plan that needs one, such as CoDe's refiner (default: the plan's own).")
    var partner: String?

    /// Opens it like the first one; nil when none is named.
    func open(_ options: ModelOptionGroup) throws(DiffError) -> Model? {
        try partner.map { (path) throws(DiffError) in try options.openPartner(path) }
    }
}

/// What a session may use.
struct SessionOptionGroup: ParsableArguments {
    @Option(help: "Threads (default: one per processor that may be used).")
    var threads = 0

    @Option(help: "Most memory beside the weights, such as 500M or 2G; a smaller --batch needs less.")
    var memoryLimit = ByteCount.none

    /// A session of `model` under `plan`, which Ctrl-C stops.
    func session(_ model: Model, _ plan: Plan, partner: Model? = nil) throws(DiffError) -> Session {
        var options = SessionOptions()
        options.threads = threads
        options.memoryLimit = memoryLimit.bytes
        options.partner = partner
        let session = try model.session(plan, options)
        Interruption.stops(session)
        return session
    }
}
