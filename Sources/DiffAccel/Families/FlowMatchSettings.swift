import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// What the `scheduler_config.json` of a flow-matching model says: Stable Diffusion 3.
struct FlowMatchSettings {
    /// The sampler that requests get unless they name another.
    private(set) var method = FlowMatchMethod.euler
    /// How levels of noise are chosen.
    private(set) var process = FlowMatching()

    /// Those of the published models, which hold where there is no file.
    static let stableDiffusion3: FlowMatchSettings = {
        var settings = FlowMatchSettings()
        settings.process.shift = 3
        return settings
    }()

    private init() {}

    /// Whether `file` is the scheduler of a flow-matching model.
    static func recognises(_ file: JSONObject) -> Bool {
        guard case .string(let name)? = file.value("_class_name") else { return false }
        return FlowMatchMethod(named: name) != nil
    }

    /// Reads the file. Throws `format`, and `unsupported` for a class that samples no flows and for settings that would change results and
    /// are not supported.
    init(_ file: JSONObject) throws(DiffError) {
        // What was not in the file that this one was saved from is left to the class that reads it.
        var members = file.members
        for key in try file.strings("_use_default_values", default: []).each { members.put(.null, for: key) }
        let c = try JSONObject(.object(members), source: file.source, path: file.path, record: file.record)
        let name = try c.optionalString("_class_name") ?? method.schedulerClass
        guard let method = FlowMatchMethod(named: name) else {
            throw DiffError(
                .unsupported,
                "\(c.place(of: "_class_name")): \(name.prefix(100)): this model is a flow; name one of "
                    + "\(FlowMatchMethod.allCases.map(\.schedulerClass).joined(separator: ", ")) there")
        }
        self.method = method
        try Self.rules.refuse(c)
        process.trainSteps = try c.integer("num_train_timesteps", in: 1...1_000_000, default: process.trainSteps)
        process.shift = try c.number("shift", in: 1e-3...1e3, default: process.shift)
        if try Self.flag(c, "use_dynamic_shifting") { process.dynamicShift = try Self.dynamicShift(c) }
        // 0 means none, as in the reference.
        if let terminal = try c.optionalNumber("shift_terminal", in: 0...0.999), terminal > 0 {
            process.terminal = terminal
        }
        let (isKarras, isExponential) = (
            try Self.flag(c, "use_karras_sigmas"), try Self.flag(c, "use_exponential_sigmas")
        )
        guard !isKarras || !isExponential else {
            throw c.error("use_exponential_sigmas", "only one of this and use_karras_sigmas can be true")
        }
        process.spread = isKarras ? .karras : isExponential ? .exponential : .even
        process.isStochastic = try Self.flag(c, "stochastic_sampling")
    }

    private static func flag(_ c: JSONObject, _ key: String) throws(DiffError) -> Bool {
        c.has(key) ? try c.bool(key) : false
    }

    private static func dynamicShift(_ c: JSONObject) throws(DiffError) -> FlowMatching.DynamicShift {
        var read = FlowMatching.DynamicShift()
        read.base = try c.number("base_shift", in: -100...100, default: read.base)
        read.most = try c.number("max_shift", in: -100...100, default: read.most)
        read.baseTokens = try c.integer("base_image_seq_len", in: 1...1_000_000, default: read.baseTokens)
        read.mostTokens = try c.integer("max_image_seq_len", in: 1...1_000_000, default: read.mostTokens)
        read.isLinear = try c.optionalString("time_shift_type", oneOf: ["exponential", "linear"]) == "linear"
        guard read.baseTokens < read.mostTokens else {
            throw c.error("max_image_seq_len", "\(read.mostTokens) is not above base_image_seq_len, \(read.baseTokens)")
        }
        guard !read.isLinear || (read.base > 0 && read.most > 0) else {
            throw c.error("base_shift", "linear shifts must be above 0, found \(read.base) and \(read.most)")
        }
        return read
    }

    /// What is known of the keys that nothing is computed with.
    static let rules = ConfigRules(
        [
            .harmless(["_class_name", "_use_default_values"], "read before all else"),
            .harmless(["_diffusers_version"], "says where the file comes from"),
            .harmless(
                ["base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type"],
                "of use_dynamic_shifting, where it is off"),
            .only("invert_sigmas", [.bool(false)], "levels from clean to noisy"),
            .only("use_beta_sigmas", [.bool(false)], "σ by a beta distribution"),
        ])
}
