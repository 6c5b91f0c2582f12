import ArgumentParser
import DiffAccel

/// What all ways of learning share: data, length, where the state goes, how to tell about progress.
struct LearningOptionGroup: ParsableArguments {
    @Option(
        help:
            "Safetensors file with the tensors latents and labels; to specialise, tokens or images instead of latents.")
    var data: String?

    @Option(help: "Instead of --data: .npy file of states [N,C,h,w], or [N,2,C,h,w] with horizontally flipped copies.")
    var latents: String?

    @Option(help: "To specialise, instead of --data: .npy file of the codes of all scales [N,tokens].")
    var tokens: String?

    @Option(help: "To specialise, instead of --data: .npy file of images [N,3,H,W] that the VQ-VAE encodes.")
    var images: String?

    @Option(help: "With --latents, --tokens or --images: .npy file of N class indices.")
    var labels: String?

    @Option(help: "Factor of the states, such as 0.18215 for raw Stable Diffusion latents.")
    var factor: Double?

    @Option(help: "Steps of the whole training (default: as published).")
    var steps: Int?

    @Option(help: "Samples of a step (default: as published).")
    var batch: Int?

    @Option(help: "Seed of all random choices.")
    var seed: Int?

    @Flag(help: "Compute activations again in the backward pass instead of keeping them: less memory, more time.")
    var recompute = false

    @Option(help: ArgumentHelp("Any other setting, value as JSON or text. Repeatable.", valueName: "name=value"))
    var set: [LearningSetting] = []

    @Option(help: "File for the state of training, from which a later run can resume.")
    var state: String?

    @Option(help: "Steps between two writings of the state.")
    var saveEvery: Int?

    @Flag(help: "Resume from the state if it exists.")
    var resume = false

    @Option(help: "File to which events are appended as lines of JSON.")
    var log: String?

    @Option(help: "Steps between two lines of --log or --json.")
    var logEvery = 10

    @Option(help: "Measure what was learned on this many batches at the end; 0: not at all.")
    var evaluate = 0

    @Flag(help: "Only report the memory that training would need.")
    var estimate = false

    @Flag(help: "Print events as lines of JSON and the outcome as the last one; no progress bar.")
    var json = false

    func validate() throws {
        let states = [latents, tokens, images].compactMap(\.self)
        guard data == nil || (states.isEmpty && labels == nil) else {
            throw ValidationError("--data names one file, --latents and --labels two: choose.")
        }
        guard states.count <= 1 else { throw ValidationError("Give one of --latents, --tokens and --images.") }
        guard states.isEmpty == (labels == nil) else { throw ValidationError("--latents and --labels go together.") }
        guard factor == nil || data != nil || latents != nil else { throw ValidationError("--factor needs data.") }
        guard logEvery >= 1 else { throw ValidationError("--log-every must be at least 1.") }
        guard (0...100_000).contains(evaluate) else { throw ValidationError("--evaluate must be 0...100000.") }
        guard !resume || state != nil else { throw ValidationError("--resume needs the --state to resume from.") }
    }

    /// The settings of a trainer of `method`: those that all methods share, `own`, and what --set says, which comes last.
    func settings(_ method: String, _ own: [String: JSON?], state: String?) -> JSON {
        var members: [String: JSON] = ["method": .string(method)]
        for (name, value) in own { members[name] = value }
        var source: [String: JSON] = [:]
        source["path"] = data.map { .string($0) }
        source["latents"] = latents.map { .string($0) }
        source["tokens"] = tokens.map { .string($0) }
        source["images"] = images.map { .string($0) }
        source["labels"] = labels.map { .string($0) }
        source["factor"] = factor.map { .number($0) }
        if !source.isEmpty { members["data"] = .object(source) }
        members["steps"] = steps.map { .integer($0) }
        members["batch"] = batch.map { .integer($0) }
        members["seed"] = seed.map { .integer($0) }
        if recompute { members["recompute"] = .bool(true) }
        members["state"] = state.map { .string($0) }
        members["save_every"] = saveEvery.map { .integer($0) }
        if resume { members["resume"] = .bool(true) }
        for setting in set { members[setting.name] = setting.value }
        return .object(members)
    }
}

/// What a trainer may use.
struct TrainerOptionGroup: ParsableArguments {
    @Option(help: "Threads (default: one per processor that may be used).")
    var threads = 0

    @Option(help: "Most memory for weights, gradients, moments and activations, such as 500M or 2G.")
    var memoryLimit = ByteCount.none

    @Option(
        help:
            "Whose published code a DiT follows: official or diffusers (default: official, unless it was trained in diffusers)."
    )
    var conventions: DiTConventions?

    @Flag(help: "Follow symbolic links inside folders of models, as download caches have them.")
    var followLinks = false

    /// How the checkpoint is opened.
    var model: ModelOptions {
        var options = ModelOptions()
        options.conventions = conventions?.rawValue
        options.followLinks = followLinks
        return options
    }

    /// What the trainer may use.
    var trainer: TrainerOptions {
        var options = TrainerOptions()
        options.threads = threads
        options.memoryLimit = memoryLimit.bytes
        return options
    }
}
