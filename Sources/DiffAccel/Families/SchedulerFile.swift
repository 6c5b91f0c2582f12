import DiffCheckpoint
import DiffSampling
import DiffTensor

/// The settings of a scheduler of diffusers: `scheduler_config.json`, or an object with the same keys.
///
/// Every key is honoured, refused when its value would change results, or on the list of those that change nothing; of the others the
/// log is told.
struct SchedulerFile {
    private let c: JSONObject

    /// Throws `unsupported`, naming the key and a remedy, for a setting that would have to be honoured and cannot.
    init(_ object: JSONObject) throws(DiffError) {
        // What was not in the file that this one was saved from is left to the class that reads it.
        var members = object.members
        for key in try object.strings("_use_default_values", default: []).each { members.put(.null, for: key) }
        c = try JSONObject(.object(members), source: object.source, path: object.path, record: object.record)
        for rule in SchedulerRules.only.each {
            guard let found = c.value(rule.key), !rule.values.each.contains(found) else { continue }
            throw DiffError(.unsupported, "\(place(rule.key)): \(rule.meaning)")
        }
    }

    /// The sampler that the file names; nil when it names none. Throws `unsupported` for one that this library does not have.
    func sampler() throws(DiffError) -> SamplerEntry? {
        guard let name = try className else { return nil }
        guard let entry = Samplers.of(class: name, try configuration(over: SchedulerConfiguration())) else {
            throw unsupported(name)
        }
        return entry
    }

    /// What the file says; the process where it says nothing is that of `base`.
    func configuration(over base: SchedulerConfiguration) throws(DiffError) -> SchedulerConfiguration {
        var read = SchedulerConfiguration()
        read.trainSteps = try c.optionalInteger("num_train_timesteps", in: 1...1_000_000) ?? base.trainSteps
        read.betaSchedule = try choice("beta_schedule", DiffusionProcess.BetaSchedule.allCases) ?? base.betaSchedule
        read.betaStart = try c.optionalNumber("beta_start", in: 1e-9...0.999) ?? base.betaStart
        read.betaEnd = try c.optionalNumber("beta_end", in: 1e-9...0.999) ?? base.betaEnd
        if c.has("trained_betas") {
            read.trainedBetas = try c.numbers("trained_betas", in: 1e-12...1)
            if !c.has("num_train_timesteps") { read.trainSteps = read.trainedBetas?.count }
        }
        read.endsInNoise = try flag("rescale_betas_zero_snr")
        read.prediction = try choice("prediction_type", PredictionType.allCases) ?? base.prediction
        read.spacing = try choice("timestep_spacing", SchedulerSpacing.allCases)
        read.stepsOffset = try c.optionalInteger("steps_offset", in: 0...1_000_000)
        read.clips = try flag("clip_sample")
        read.clipRange = try c.optionalNumber("clip_sample_range", in: 1e-6...1e6)
        read.endsClean = try flag("set_alpha_to_one")
        // The key means something else in other classes.
        if try className == "DDPMScheduler" { read.variance = try variance() }
        try readSigmas(&read)
        try readSolver(&read)
        return read
    }

    private func readSigmas(_ read: inout SchedulerConfiguration) throws(DiffError) {
        read.usesKarrasSigmas = try flag("use_karras_sigmas")
        read.usesExponentialSigmas = try flag("use_exponential_sigmas")
        guard read.usesKarrasSigmas != true || read.usesExponentialSigmas != true else {
            throw c.error("use_exponential_sigmas", "only one of this and use_karras_sigmas can be true")
        }
        read.sigmaMin = try c.optionalNumber("sigma_min", in: 1e-9...1e8)
        read.sigmaMax = try c.optionalNumber("sigma_max", in: 1e-9...1e8)
        if let least = read.sigmaMin, let most = read.sigmaMax, least >= most {
            throw c.error("sigma_min", "\(least) is not below sigma_max, \(most)")
        }
        read.endsAtSigmaMin = try second(of: ["zero", "sigma_min"], "final_sigmas_type")
        read.isLogLinear = try second(of: ["linear", "log_linear"], "interpolation_type")
        read.isContinuous = try second(of: ["discrete", "continuous"], "timestep_type")
    }

    private func readSolver(_ read: inout SchedulerConfiguration) throws(DiffError) {
        if let algorithm = try choice("algorithm_type", SchedulerConfiguration.Algorithm.allCases) {
            read.algorithm = algorithm
        }
        read.solverType = try choice("solver_type", SchedulerConfiguration.SolverType.allCases)
        read.solverOrder = try c.optionalInteger("solver_order", in: 1...100)
        read.lowersFinalOrder = try flag("lower_order_final")
        read.endsInEuler = try flag("euler_at_final")
        read.predictsClean = try flag("predict_x0")
        read.uncorrectedSteps =
            c.has("disable_corrector") ? try c.integers("disable_corrector", in: 0...1_000_000) : nil
        read.skipsRungeKutta = try flag("skip_prk_steps")
        read.originalSteps = try c.optionalInteger("original_inference_steps", in: 1...1_000_000)
        read.timestepScaling = try c.optionalNumber("timestep_scaling", in: 0...1e6)
    }

    /// Tells the log about settings of other samplers, which have no effect on `sampler`; those that none has, the ledger tells.
    func account(for sampler: SamplerEntry) {
        let ours = [SchedulerRules.process, sampler.keys, SchedulerRules.harmless]
        let all = Samplers.all.each.map(\.keys)
        func isAmong(_ lists: [[String]], _ key: String) -> Bool { lists.each.contains { $0.each.contains(key) } }
        for key in c.keys.each where !isAmong(ours, key) && isAmong(all, key) && c.has(key) {
            Log.write(.warning, "\(c.place): \"\(key)\" is a setting without effect on sampler \(sampler.name)")
        }
    }

    private func unsupported(_ name: String) -> DiffError {
        let known = Samplers.all.map(\.schedulerClass)
        let classes = known.numbered.filter { !known.prefix($0.offset).contains($0.element) }.map(\.element)
        let shown = String(name.prefix(100))
        let reason =
            shown.hasPrefix("FlowMatch")
            ? "it samples flows such as Stable Diffusion 3, and this model is no flow"
            : "no such sampler is here"
        return DiffError(
            .unsupported,
            "\(place("_class_name")): \(shown): \(reason). If the model was trained as a diffusion model, name one of "
                + "\(classes.joined(separator: ", ")) there")
    }

    // MARK: Values

    /// The class, in full or in short.
    private var className: String? {
        get throws(DiffError) {
            let short = try c.optionalString("type").map { "\($0)Scheduler" }
            return try c.optionalString("_class_name") ?? short
        }
    }

    /// Whether `key` is the second of two words; nil where it is absent.
    private func second(of words: [String], _ key: String) throws(DiffError) -> Bool? {
        try c.optionalString(key, oneOf: words).map { $0 == words.last }
    }

    private func flag(_ key: String) throws(DiffError) -> Bool? { c.has(key) ? try c.bool(key) : nil }

    private func choice<T: RawRepresentable<String>>(_ key: String, _ all: [T]) throws(DiffError) -> T? {
        let name = try c.optionalString(key, oneOf: all.each.map(\.rawValue))
        return name.flatMap(T.init(rawValue:))
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
        default: return try choice("variance_type", DDPMSampler.Variance.allCases)
        }
    }

    private func place(_ key: String) -> String {
        c.path.isEmpty ? "\(c.source): \(key)" : "\(c.source): \(c.path).\(key)"
    }
}
