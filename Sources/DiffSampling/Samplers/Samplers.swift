public import DiffTensor

/// A sampler that requests and scheduler files can name.
public struct SamplerEntry: Sendable {
    /// Makes the sampler for these steps; `eta` is DDIM's.
    typealias Make =
        @Sendable (_ configuration: SchedulerConfiguration, _ steps: SamplerSteps, _ eta: Double) throws(DiffError) ->
        any Sampler

    /// The name in requests.
    public let name: String
    /// The class of diffusers that it is.
    public let schedulerClass: String
    /// Settings of that class that this library honours, beside those of the process.
    public let keys: [String]
    /// The spacing and the process that the class has by default.
    public let spacing: SchedulerSpacing, process: DiffusionProcess
    /// What the name changes in a configuration.
    private let adjust: @Sendable (inout SchedulerConfiguration) -> Void
    private let make: Make

    init(
        _ name: String, _ schedulerClass: String, keys: [String], spacing: SchedulerSpacing = .linspace,
        process: DiffusionProcess = .dit,
        adjust: @escaping @Sendable (inout SchedulerConfiguration) -> Void = { _ in }, make: @escaping Make
    ) {
        (self.name, self.schedulerClass, self.keys, self.spacing) = (name, schedulerClass, keys, spacing)
        (self.process, self.adjust, self.make) = (process, adjust, make)
    }

    /// Settings of the classes on σ.
    static let sigmaKeys = ["timestep_spacing", "steps_offset", "use_karras_sigmas", "use_exponential_sigmas"]

    /// What the name means of `configuration`: the same where the name says nothing that it does not.
    func adjusted(_ configuration: SchedulerConfiguration) -> SchedulerConfiguration {
        var adjusted = configuration
        adjust(&adjusted)
        return adjusted
    }

    /// Whether the sampler clamps clean images when it is told to.
    public var clips: Bool { keys.contains("clip_sample") }
    /// Whether it does so where nothing is said of it.
    public var clipsByDefault: Bool { respaces }
    /// Whether it can run on a process respaced as the official DiT does it.
    public var respaces: Bool { schedulerClass == "DDIMScheduler" || schedulerClass == "DDPMScheduler" }
    /// Whether timesteps can be spaced otherwise: a consistency model's are those that it was distilled on.
    public var isSpaced: Bool { schedulerClass != LCMSampler.schedulerClass }
    /// Whether it can start from a state that is nothing but noise.
    public var startsInNoise: Bool { keys.contains("rescale_betas_zero_snr") }

    /// The sampler for a run. What `configuration` does not say is as the sampler's class in diffusers has it.
    ///
    /// Throws `invalidArgument` for steps that do not exist, `unsupported` for settings that this sampler does not have.
    public func sampler(
        _ configuration: SchedulerConfiguration, _ steps: SamplerSteps, eta: Double
    ) throws(DiffError) -> any Sampler {
        var configuration = adjusted(configuration)
        if configuration.endsInNoise == true, !startsInNoise {
            throw refused("rescale_betas_zero_snr", "true", by: Samplers.all.each.filter(\.startsInNoise))
        }
        if configuration.clips == true, !clips {
            let key = configuration.clippingRecoversNoise ? "clip_denoised" : "clip_sample"
            throw refused(key, "true", by: Samplers.all.each.filter(\.clips))
        }
        guard eta == 0 || schedulerClass == "DDIMScheduler" else {
            throw DiffError(.unsupported, "eta is DDIM's; sampler \(name) has none")
        }
        // The process where nothing is said of it is the class's.
        configuration.take(configuration.process(process))
        return try make(configuration, steps, eta)
    }

    private func refused(_ key: String, _ value: String, by others: [SamplerEntry]) -> DiffError {
        DiffError(
            .unsupported,
            "the model's scheduler says \(key) \(value), which sampler \(name) does not have; samplers that do: "
                + others.map(\.name).joined(separator: ", "))
    }
}

/// All samplers of discrete processes. A new one is added here, with a file of its own.
public enum Samplers {
    /// In the order in which they are listed to people; of those with the same class the first is what a scheduler file means.
    public static let all: [SamplerEntry] =
        [
            DDIMSampler.entry, DDPMSampler.entry, PNDMSampler.entry, EulerSampler.entry, EulerSampler.karras,
            EulerAncestralSampler.entry, HeunSampler.entry, HeunSampler.karras, LMSSampler.entry, LMSSampler.karras,
        ] + DPMSolverMultistepSampler.entries + [
            DPMSolverSDESampler.entry, DPMSolverSDESampler.karras, UniPCSampler.entry, UniPCSampler.karras,
            LCMSampler.entry,
        ]

    /// The default where none is named.
    public static let standard = DDIMSampler.entry

    /// The names of all samplers.
    public static var names: [String] { all.map(\.name) }

    /// The classes of diffusers that they are, each once.
    public static var classes: [String] {
        var classes: [String] = []
        for entry in all.each where !classes.contains(entry.schedulerClass) { classes.append(entry.schedulerClass) }
        return classes
    }

    /// The sampler that a scheduler of this class and configuration is; nil when there is none.
    public static func of(class name: String, _ configuration: SchedulerConfiguration) -> SamplerEntry? {
        all.each.first { $0.schedulerClass == name && $0.adjusted(configuration) == configuration }
    }

    /// The sampler called `name`, which may also be a class of diffusers. Throws `invalidArgument`, listing all names.
    public static func named(_ name: String) throws(DiffError) -> SamplerEntry {
        guard let entry = all.each.first(where: { $0.name == name || $0.schedulerClass == name }) else {
            throw DiffError(
                .invalidArgument,
                "no sampler \"\(name.prefix(100))\"; there are \(names.joined(separator: ", ")), and the classes of diffusers "
                    + "that they are")
        }
        return entry
    }
}
