public import DiffCheckpoint
import DiffModels
public import DiffTensor

/// A loaded checkpoint: immutable, shared by any number of sessions and threads.
public final class Model: Sendable {
    /// Where it was loaded from.
    public let path: String
    /// The architecture, such as `dit`.
    public let familyName: String
    let family: any ModelFamily
    private let budget: MemoryBudget
    private let parameters: Int
    private let weights: WeightType
    /// How it was opened.
    let options: ModelOptions
    private let convolution: ConvolutionMethod
    private let settings: ConfigReport
    /// What this process has of it as one of several ranks; nil: all.
    let share: ModelShare?
    private let forwardMemory = ForwardMemory()

    /// Opens the checkpoint at `path`: a folder with `config.json` and safetensors, or one safetensors file with a config in
    /// the options.
    ///
    /// Throws `io`, `format` (listing names that are missing, unused or of the wrong shape), `unsupported`, `outOfMemory`,
    /// `overBudget`.
    public init(_ path: String, _ options: ModelOptions = ModelOptions()) throws(DiffError) {
        let began = Machine.seconds
        let budget = try MemoryBudget(limit: options.memoryLimit)
        var options = options
        share = try options.settings.ranks.map { (plan) throws(DiffError) in try ModelShare(path, options, plan) }
        if let share { (options.networkPart, options.companions) = (share.part, share.companions) }
        let opened = try Self.opened(path, options, budget)
        let type = opened.family
        guard options.maskToken == nil || type.takesMaskToken else {
            throw DiffError(.unsupported, "mask_token is for language models; this is a \(type.name) model")
        }
        for name in options.settings.ofPipelines.each where !type.isPipeline {
            throw DiffError(
                .unsupported, "the setting \"\(name)\" is for pipelines of prompts; this is a \(type.name) model")
        }
        family = try locating(path) { () throws(DiffError) in try type.init(opened) }
        familyName = type.name
        parameters = family.parameters ?? opened.checkpoint.tensors.elementCount
        (self.path, self.budget, weights, self.options) = (path, budget, options.weights, options)
        convolution = options.settings.convolution
        settings = opened.ledger.report
        settings.log(path)
        Log.write(.info, "opened \(path): \(type.name), \(budget.used) bytes in \(Machine.seconds - began) s")
    }

    /// The checkpoint at `path`, or its `transformer` part when it is a pipeline folder.
    static func opened(
        _ path: String, _ options: ModelOptions, _ budget: MemoryBudget
    ) throws(DiffError) -> Opened {
        try Families.check(conventions: options.conventions)
        try options.checkPrecision()
        var options = options
        var checkpoint = try Checkpoint.open(
            path: path, config: options.config, followingLinks: options.followLinks, variant: options.settings.variant)
        if let whole = try Pipelines.opened(checkpoint, path, options, budget) { return whole }
        let pipeline = checkpoint.pipeline
        var part = ""
        let schedulerName = "scheduler_config.json"
        var scheduler = try checkpoint.json(schedulerName).map { (json) throws(DiffError) in
            try JSONObject(json, source: schedulerName)
        }
        if checkpoint.pipeline != nil, try checkpoint.hasSubdirectory("transformer") {
            if let json = try checkpoint.json(schedulerName, in: "scheduler") {
                scheduler = try JSONObject(json, source: "scheduler/\(schedulerName)")
            } else if case .object(let parts)? = checkpoint.pipeline, parts["scheduler"] ?? .null != .null {
                Log.write(
                    .warning,
                    "\(path): model_index.json names a scheduler, but there is no scheduler/\(schedulerName): sampling follows the "
                        + "conventions instead")
            }
            if options.decoder == nil, try checkpoint.hasSubdirectory("vae") { options.decoder = "\(path)/vae" }
            checkpoint = try checkpoint.subdirectory("transformer", config: options.config)
            part = options.config == nil ? "transformer/" : ""
        }
        let (ledger, source) = (ConfigLedger(), try checkpoint.configuration)
        let family = try Families.choose(source, options)
        return try locating(path) { () throws(DiffError) in
            let index = try pipeline.map { (json) throws(DiffError) in
                try ledger.entered(
                    JSONObject(json, source: "model_index.json"), as: "model_index.json", FileRules.pipeline)
            }
            for (file, remedy) in FileRules.refused.each where try checkpoint.hasFile(file) {
                throw DiffError(.unsupported, "\(file): \(remedy)")
            }
            let config = try ledger.entered(source, as: part + source.source, family.rules)
            let sampling = try scheduler.map { (file) throws(DiffError) in
                try ledger.entered(file, as: file.source, SchedulerRules.file)
            }
            let architecture = try config.optionalObject("model") ?? config
            try family.rules.refuse(architecture)
            return Opened(
                checkpoint: checkpoint, family: family, architecture: architecture, config: config, pipeline: index,
                scheduler: sampling,
                ledger: ledger, options: options, budget: budget, pool: try WorkerPool(threads: Machine.processors))
        }
    }

    /// What its products of matrices are computed in: as asked for, or as `auto` chose.
    public var precision: Precision { options.precision }

    /// Bytes of the weights in memory.
    public var bytes: Int { budget.used }

    /// Sites of the network that plans act on.
    public var layout: SiteLayout { family.layouts[0] }

    /// Facts about the model as JSON: family, sizes, sites, sampling defaults; settings in its config files without
    /// effect (`unknown_keys`), values of absent ones (`defaults`) and what else was assumed (`assumptions`).
    public var description: JSON {
        var members = family.description
        members["family"] = .string(familyName)
        members["parameters"] = .integer(parameters)
        members["bytes"] = .integer(bytes)
        members["weights"] = .string(weights.rawValue)
        members["convolution"] = .string(convolution.rawValue)
        members["precision"] = .string(precision.rawValue)
        members["blocks"] = .integer(layout.blockCount)
        members["sites"] = .array(layout.sites(.attention, .mlp).map { .string(layout.info($0).name) })
        for name in Array(settings.members.keys).each { members.put(settings.members[name] ?? .null, for: name) }
        if let sampling = family.sampling, let flops = try? sampling.flopsPerCall() {
            members["flops"] = .number(flops)
        }
        if let share { members["share"] = share.json }
        if let convolutions = family.convolutions?.json { members["convolutions"] = convolutions }
        members["request"] = family.sampling?.form.json
        return .object(members)
    }

    /// Names of the raw network's inputs and outputs.
    public var forwardNames: (inputs: [String], outputs: [String]) { type(of: family).forwardNames }

    /// Evaluates the raw network once, without sampler or plan.
    ///
    /// DiT: `x` [n, C, S, S], `t` [n], integers `y` [n] give `out`. Autoencoder: `latents` give `image`, `image` gives `moments`.
    /// Language models: integers `tokens` [n] give `logits` [1, n, vocabulary].
    /// Without a memory limit the working memory stays with the model, for the next call of the same sizes.
    /// Throws `invalidArgument` for missing or unknown names, `shape`, `notFinite` for outputs that are not, and memory errors.
    public func forward(
        _ inputs: NamedInputs, wanted: [String]? = nil, threads: Int = 0, memoryLimit: Int = 0
    ) throws(DiffError) -> [String: Tensor] {
        let pool = try WorkerPool(threads: threads == 0 ? Machine.processors : threads)
        guard memoryLimit == 0 else {
            let budget = try MemoryBudget(limit: memoryLimit)
            return try forward(inputs, wanted, Run(pool: pool, budget: budget, precision: precision))
        }
        let sizes = inputs.sizes
        let workspace = try forwardMemory.take(sizes)
        let outputs = try forward(inputs, wanted, Run(pool: pool, workspace: workspace, precision: precision))
        forwardMemory.keep(workspace, sizes)
        return outputs
    }

    /// Shapes of the outputs that ``forward(_:wanted:threads:memoryLimit:)`` would give; nothing is computed.
    public func forwardShapes(_ inputs: NamedInputs, wanted: [String]? = nil) throws(DiffError) -> [String: Shape] {
        try forward(inputs, wanted, Run(dryOn: 1)).mapValues(\.shape)
    }

    private func forward(
        _ inputs: NamedInputs, _ wanted: [String]?, _ run: Run
    ) throws(DiffError) -> [String: Tensor] {
        let known = forwardNames
        for name in inputs.names where !known.inputs.contains(name) {
            throw DiffError(
                .invalidArgument,
                "no input \"\(name)\"; \(familyName) models take \(known.inputs.joined(separator: ", "))")
        }
        for tensor in inputs.tensors where tensor.value.shape.count == 0 {
            throw DiffError(.shape, "the input \"\(tensor.key)\" has no elements: \(tensor.value.shape)")
        }
        let layouts = family.layouts
        try run.begin(SamplingContext(layouts: layouts, calls: 1, rows: 1))
        let names = wanted ?? [known.outputs[0]]
        let outputs = try family.forward(inputs, wanted: names, run)
        for name in names.each {
            if let output = outputs[name] {
                try run.requireFinite(output, "the output \"\(name)\" (weights or inputs)")
            }
        }
        return outputs
    }

    /// The sampling steps that the router in `plan` was learned for on such a model; nil when it has none.
    public func learnedSteps(of plan: Plan) -> Int? {
        plan.learnedSteps.map { $0 / max(1, family.sampling?.callsPerStep ?? 1) }
    }

    /// A session of this model under `plan`.
    public func session(_ plan: Plan = Plan(), _ options: SessionOptions = SessionOptions()) throws(DiffError)
        -> Session
    {
        try Session(self, plan, options)
    }
}
