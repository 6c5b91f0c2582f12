import DiffCheckpoint
import DiffSampling
import DiffTensor

/// The settings of a scheduler of diffusers: `scheduler_config.json`, or an object with the same keys.
///
/// Every key is honoured, refused when its value would change results, or on the list of those that change nothing; of the others the
/// log is told.
struct SchedulerFile {
    private let c: JSONObject

    init(_ object: JSONObject) throws(DiffError) {
        // What was not in the file that this one was saved from is left to the class that reads it.
        let left = Set(try object.strings("_use_default_values", default: []))
        let members = left.isEmpty ? object.members : object.members.filter { !left.contains($0.key) }
        c = try JSONObject(.object(members), source: object.source, path: object.path)
    }

    /// The sampler that the file names; nil when it names none. Throws `unsupported` for one that this library does not have.
    func sampler() throws(DiffError) -> SamplerEntry? {
        let short = try c.optionalString("type").map { "\($0)Scheduler" }
        guard let name = try c.optionalString("_class_name") ?? short else { return nil }
        guard let entry = Samplers.all.each.first(where: { $0.schedulerClass == name }) else {
            let known = Samplers.all.map(\.schedulerClass)
            let classes = known.numbered.filter { !known.prefix($0.offset).contains($0.element) }.map(\.element)
            throw DiffError(
                .unsupported,
                "\(place("_class_name")): \(name) is not supported; \(classes.joined(separator: ", ")) are. If one of them suits "
                    + "the model, name it there")
        }
        return entry
    }

    /// What the file says; the process where it says nothing is that of `base`.
    func configuration(over base: SchedulerConfiguration) throws(DiffError) -> SchedulerConfiguration {
        var read = SchedulerConfiguration()
        read.trainSteps = try c.optionalInteger("num_train_timesteps", in: 1...1_000_000) ?? base.trainSteps
        read.betaSchedule = try choice("beta_schedule") ?? base.betaSchedule
        read.betaStart = try c.optionalNumber("beta_start", in: 1e-9...0.999) ?? base.betaStart
        read.betaEnd = try c.optionalNumber("beta_end", in: 1e-9...0.999) ?? base.betaEnd
        if c.has("trained_betas") {
            read.trainedBetas = try c.numbers("trained_betas", in: 1e-12...1)
            if !c.has("num_train_timesteps") { read.trainSteps = read.trainedBetas?.count }
        }
        read.endsInNoise = try flag("rescale_betas_zero_snr")
        read.prediction = try choice("prediction_type") ?? base.prediction
        read.spacing = try choice("timestep_spacing")
        read.stepsOffset = try c.optionalInteger("steps_offset", in: 0...1_000_000)
        read.clips = try flag("clip_sample")
        read.clipRange = try c.optionalNumber("clip_sample_range", in: 1e-6...1e6)
        read.endsClean = try flag("set_alpha_to_one")
        if try sampler()?.keys.contains("variance_type") ?? true { read.variance = try variance() }
        return read
    }

    /// Throws `unsupported` for what `sampler` would have to honour and cannot, and tells the log about keys that it does not know.
    func account(for sampler: SamplerEntry) throws(DiffError) {
        for rule in SchedulerRules.only.each {
            guard let found = c.value(rule.key), !rule.values.contains(found) else { continue }
            throw DiffError(.unsupported, "\(place(rule.key)): \(rule.meaning)")
        }
        Self.warn(of: c, unknownBeside: SchedulerRules.process + sampler.keys + SchedulerRules.harmless)
    }

    /// Tells the log about members of `object` that have no effect.
    static func warn(of object: JSONObject, unknownBeside known: [String]) {
        for key in object.keys.each where !known.contains(key) && object.has(key) && !key.hasPrefix("_") {
            Log.write(.warning, "\(object.place): \"\(key.prefix(100))\" is a setting without effect here")
        }
    }

    // MARK: Values

    private func flag(_ key: String) throws(DiffError) -> Bool? { c.has(key) ? try c.bool(key) : nil }

    private func choice<T: RawRepresentable & CaseIterable>(_ key: String) throws(DiffError) -> T?
    where T.RawValue == String {
        try c.optionalString(key, oneOf: T.allCases.map(\.rawValue)).flatMap(T.init(rawValue:))
    }

    private func variance() throws(DiffError) -> DDPMSampler.Variance? {
        switch try c.optionalString("variance_type") {
        case "fixed_large_log":
            throw DiffError(
                .unsupported,
                "\(place("variance_type")): fixed_large_log makes noise of the root of a negative number in diffusers too; "
                    + "fixed_large is what it is meant to be")
        case "learned":
            throw DiffError(
                .unsupported,
                "\(place("variance_type")): learned (the variance itself) is not supported; learned_range is what published "
                    + "networks have")
        default: return try choice("variance_type")
        }
    }

    private func place(_ key: String) -> String {
        c.path.isEmpty ? "\(c.source): \(key)" : "\(c.source): \(c.path).\(key)"
    }
}

/// What is known of the keys of schedulers.
enum SchedulerRules {
    /// Those of the process, which all samplers have.
    static let process = [
        "num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "trained_betas", "prediction_type",
    ]

    /// Those that change nothing that is computed here.
    static let harmless = [
        // Who wrote the file.
        "_class_name", "_diffusers_version", "type",
        // Requests say it.
        "steps",
        // Of dynamic thresholding, which must be off.
        "dynamic_thresholding_ratio", "sample_max_value",
        // Switches of other classes that are off, or that Stable Diffusion's files carry from one class to the next.
        "thresholding", "skip_prk_steps", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "flow_shift",
        "use_dynamic_shifting", "time_shift_type", "predict_epsilon", "eta", "noise_sampler_seed",
    ]

    /// Keys of which only these values are supported, and what to do about others.
    static let only: [(key: String, values: [JSON], meaning: String)] = [
        ("thresholding", [.bool(false)], "dynamic thresholding is not supported; clip_sample bounds images too, or set it to false"),
        ("use_beta_sigmas", [.bool(false)], "σ by a beta distribution is not supported; use_karras_sigmas is the nearest"),
        ("use_lu_lambdas", [.bool(false)], "Lu's λ grid is not supported; use_karras_sigmas is the nearest"),
        (
            "use_flow_sigmas", [.bool(false)],
            "a flow-matching model cannot be sampled as a diffusion model; no sampler of flows is there for this family yet"
        ),
        ("use_dynamic_shifting", [.bool(false)], "σ that depend on the picture's size are not supported; set it to false"),
        (
            "predict_epsilon", [.bool(true)],
            "an old name of prediction_type; write \"prediction_type\": \"sample\" instead of it"
        ),
        ("eta", [.integer(0), .number(0)], "give eta with the request"),
    ]
}
