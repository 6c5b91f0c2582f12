import DiffCheckpoint
import DiffSampling
import DiffTensor

/// The sampler of an image request: what the model's scheduler says, changed by what the request says.
struct ImageSteps {
    /// What requests may say of the steps.
    static let options = [
        OptionSpec(
            "spacing", .text, absent: "as the model's scheduler or conventions say",
            "How timesteps are spaced: leading, trailing, linspace (diffusers); of ddim and ddpm also even (official respacing), strided "
                + "(ddimN), or counts per section such as 10,15,25."),
        OptionSpec(
            "steps_offset", .integer(0...SampleRequest.maxSteps), default: 0,
            "Added to every timestep of the leading spacing; 0: what the model's scheduler says."),
        OptionSpec("eta", .number(0...1), default: 0, "The noise of DDIM, 0 (none) to 1."),
    ]

    /// The model's scheduler.
    let scheduler: SchedulerSettings
    let request: StepsRequest
    /// The request's steps, or what holds where it says none.
    let count: Int
    private let entry: SamplerEntry
    private let learnsVariance: Bool

    /// Throws `invalidArgument` for a sampler that does not exist.
    init(
        _ scheduler: SchedulerSettings, _ request: StepsRequest, steps count: Int, learnsVariance: Bool
    ) throws(DiffError) {
        (self.scheduler, self.request, self.count, self.learnsVariance) = (scheduler, request, count, learnsVariance)
        entry = if let name = request.sampler { try Samplers.named(name) } else { scheduler.sampler }
    }

    /// The name in statistics.
    var name: String { entry.name }

    /// The sampler for the request's steps. Throws `invalidArgument` or `unsupported`.
    func sampler() throws(DiffError) -> any Sampler {
        var configuration = scheduler.configuration
        // Only a DDPM scheduler says what a variance is; a network that learns it says it otherwise.
        if configuration.variance == nil, learnsVariance, scheduler.sampler.name != entry.name {
            configuration.variance = .learnedRange
        }
        // A scheduler's own spacing is in its configuration; conventions speak of DDIM and DDPM only.
        let name = request.spacing ?? (entry.respaces ? scheduler.spacing(steps: count) : nil)
        let effective = name ?? (configuration.spacing ?? entry.spacing).rawValue
        guard request.stepsOffset == 0 || effective == SchedulerSpacing.leading.rawValue else {
            throw DiffError(
                .invalidArgument, "steps_offset is for the leading spacing only, found \(request.stepsOffset)")
        }
        guard entry.isSpaced || request.spacing == nil else {
            throw DiffError(
                .unsupported, "sampler \(entry.name) has timesteps of its own, which no spacing changes; leave it out")
        }
        if request.stepsOffset != 0 { configuration.stepsOffset = request.stepsOffset }
        if name != nil, let spacing = SchedulerSpacing(rawValue: effective) { configuration.spacing = spacing }
        let steps = try steps(effective)
        let count = if case .respaced(let spacing) = steps { spacing.steps } else { count }
        guard (1...SampleRequest.maxSteps).contains(count) else {
            throw DiffError(.invalidArgument, "steps must be 1...\(SampleRequest.maxSteps), found \(count)")
        }
        // Without a scheduler the leading spacing is one of the official code's respacings.
        if scheduler.isOfficial, entry.respaces, effective == SchedulerSpacing.leading.rawValue {
            let leading = TimestepSpacing.leading(count, offset: configuration.stepsOffset ?? 0)
            return try entry.sampler(configuration, .respaced(leading), eta: request.eta)
        }
        return try entry.sampler(configuration, steps, eta: request.eta)
    }

    /// The steps that a spacing's name and their number mean.
    private func steps(_ name: String) throws(DiffError) -> SamplerSteps {
        switch name {
        case "leading", "trailing", "linspace": return .count(count)
        case "even": return .respaced(.even([count]))
        case "strided": return .respaced(.strided(count))
        default:
            let counts = name.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            guard counts.count <= 1000, counts.allSatisfy({ $0 > 0 }) else {
                throw DiffError(
                    .invalidArgument,
                    "spacing must be even, leading, trailing, linspace, strided or counts like 10,15,25; found \"\(name.prefix(60))\""
                )
            }
            let total = counts.each.reduce(0) { Checked.add($0, $1) ?? Int.max }
            guard request.steps == nil || count == total else {
                throw DiffError(
                    .invalidArgument,
                    "spacing \"\(name.prefix(60))\" has \(total) steps, the request says \(count)")
            }
            return .respaced(.even(counts))
        }
    }
}
