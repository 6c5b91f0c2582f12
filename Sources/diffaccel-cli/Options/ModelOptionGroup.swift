public import ArgumentParser
import DiffAccel
public import DiffCheckpoint
public import DiffModels

extension DiTConventions: ExpressibleByArgument {}
extension WeightType: ExpressibleByArgument {}

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

    /// Opens the model at `path`.
    func open(_ path: String) throws(DiffError) -> Model {
        var options = options
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
