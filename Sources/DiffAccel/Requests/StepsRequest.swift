import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// What a request says of the sampler and its steps.
struct StepsRequest: Sendable {
    /// The number of sampling steps where nothing says another one.
    static let defaultSteps = 50

    /// One of the solver's samplers, or the class of diffusers that it is; nil: the model's own.
    let sampler: String?
    /// Number of sampling steps; nil: the sum of the counts of ``spacing``, else what the plan's router was learned for.
    let steps: Int?
    /// How timesteps are spaced; nil: as the model's scheduler or conventions say.
    let spacing: String?
    /// Added to every timestep of the `leading` spacing; 0: what the model's scheduler says.
    let stepsOffset: Int
    /// DDIM's noise, 0 (deterministic) to 1.
    let eta: Double

    /// The options of requests under `solver`.
    static func options(_ solver: any ImageSolver, defaultSteps: Int) -> [OptionSpec] {
        var options = [
            OptionSpec(
                "steps", .integer(1...SampleRequest.maxSteps),
                absent: "what the plan's router was learned for, else \(defaultSteps)", "Number of sampling steps."),
            OptionSpec(
                "sampler", .choice(solver.samplerNames), absent: solver.standard,
                "The sampler, by its name or by its class in diffusers."),
        ]
        for option in solver.options.each { options.append(option) }
        return options
    }

    /// So many steps of a sampler, without noise, spaced as the model has it.
    init(sampler: String, steps: Int) {
        (self.sampler, self.steps, spacing, stepsOffset, eta) = (sampler, steps, nil, 0, 0)
    }

    /// What `options` say.
    init(_ options: Options) throws(DiffError) {
        steps = try options.optional("steps")
        sampler = try options.optional("sampler")
        spacing = options.declares("spacing") ? try options.optional("spacing") : nil
        stepsOffset = options.declares("steps_offset") ? try options.get("steps_offset") : 0
        eta = options.declares("eta") ? try options.get("eta") : 0
    }

    /// Throws `invalidArgument` for a number of steps out of range: those that come from a plan are as free as a request's.
    static func require(_ steps: Int) throws(DiffError) {
        guard (1...SampleRequest.maxSteps).contains(steps) else {
            throw DiffError(.invalidArgument, "steps must be 1...\(SampleRequest.maxSteps), found \(steps)")
        }
    }
}

/// What a request says of classifier-free guidance beside its scale.
struct GuidanceRequest: Sendable {
    /// How far the guided prediction is rescaled, where guidance works, and how it is computed.
    let rescale: Double, interval: [Double], execution: String

    /// The options of requests.
    static let options = [
        OptionSpec(
            "guidance_rescale", .number(0...1), default: 0,
            "How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin et al. "
                + "2023); 0: not at all."
        ),
        OptionSpec(
            "guidance_interval", .list(.number(0...1), 2...2), default: [0, 1],
            "Part of the run in which guidance applies, as fractions of its steps; outside only the conditional "
                + "prediction is used."
        ),
        OptionSpec(
            "guidance_execution", .choice(Guidance.Execution.allCases.map(\.rawValue)),
            default: .string(Guidance.Execution.batched.rawValue),
            "How predictions are computed, bit for bit the same: the two in one batch, one after the other, side by side on "
                + "parts of the threads, or by rows on the ranks of an MPI program."),
    ]

    /// What `options` say.
    init(_ options: Options) throws(DiffError) {
        rescale = try options.get("guidance_rescale")
        interval = try options.get("guidance_interval")
        execution = try options.get("guidance_execution")
    }

    /// The guidance of this `scale` for the first `channels` of a prediction of `count`. Throws `invalidArgument`.
    func guidance(scale: Double, channels: Int, of count: Int) throws(DiffError) -> Guidance {
        try Guidance(
            scale: scale, channels: channels, of: count, rescale: rescale, interval: interval, execution: execution)
    }
}
