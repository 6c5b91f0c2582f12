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

    @Option(
        help:
            "Whose published code a DiT follows: official or diffusers (default: official, unless it was trained in diffusers)."
    )
    var conventions: DiTConventions?

    @Option(help: "What weights are in memory: stored (the file's type), f32 or int8 (a scale for each output).")
    var weights = WeightType.stored

    @Flag(help: "Follow symbolic links inside the model's folder, as download caches have them.")
    var followLinks = false

    /// Opens the model at `path`.
    func open(_ path: String) throws(DiffError) -> Model {
        var options = ModelOptions()
        options.decoder = decoder
        options.conventions = conventions
        options.weights = weights
        options.followLinks = followLinks
        return try Model(path, options)
    }
}

/// What a session may use.
struct SessionOptionGroup: ParsableArguments {
    @Option(help: "Threads (default: one per processor).")
    var threads = 0

    @Option(help: "Most memory beside the weights, such as 500M or 2G; a smaller --batch needs less.")
    var memoryLimit = ByteCount.none

    /// A session of `model` under `plan`, which Ctrl-C stops.
    func session(_ model: Model, _ plan: Plan) throws(DiffError) -> Session {
        var options = SessionOptions()
        options.threads = threads
        options.memoryLimit = memoryLimit.bytes
        let session = try model.session(plan, options)
        Interruption.stops(session)
        return session
    }
}
