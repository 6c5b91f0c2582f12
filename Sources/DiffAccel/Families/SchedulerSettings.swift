import DiffCheckpoint
import DiffSampling
import DiffTensor

/// What the config files of a model say about sampling from it: the `scheduler_config.json` of a pipeline, an object `scheduler` with
/// the same keys in our config, or our `diffusion` object.
struct SchedulerSettings {
    /// Everything that was said.
    private(set) var configuration = SchedulerConfiguration()
    /// The sampler that requests get unless they name another.
    private(set) var sampler = Samplers.standard
    /// Whether there is no scheduler: then the conventions of the official DiT hold where nothing is said.
    private(set) var isOfficial = true
    /// The spacing of DDIM and DDPM by convention; nil: the scheduler's.
    private var convention: String?
    /// Sections of our `respacing`: a default for requests with this number of steps.
    private var sections: (name: String, steps: Int)?

    /// Reads what there is. `spacing` is the convention. Throws `format`, and `unsupported` for settings that would change results and are
    /// not supported.
    init(_ opened: Opened, spacing: String) throws(DiffError) {
        convention = spacing
        (configuration.clips, configuration.variance) = (false, .learnedRange)
        if let ours = try opened.config.optionalObject("diffusion") { try read(diffusion: ours) }
        if let inline = try opened.config.optionalObject("scheduler") {
            try read(scheduler: SchedulerFile(inline), isFile: false)
        } else if let file = opened.scheduler {
            try read(scheduler: SchedulerFile(file), isFile: true)
        }
        // Refused now rather than at the first request.
        let (process, source) = (
            configuration.process(sampler.process), opened.scheduler?.source ?? opened.config.source
        )
        do { _ = try process.alphasCumulative() } catch {
            throw DiffError(error.code == .invalidArgument ? .format : error.code, "\(source): \(error.message)")
        }
    }

    /// Those of Stable Diffusion: what its scheduler's file says, or, without one, the published models' PNDM.
    ///
    /// A class that clamps clean images where its file says nothing of it does not do so here: latents are no pixels, and requests may name
    /// another class than that of the file.
    init(stableDiffusion file: JSONObject?) throws(DiffError) {
        let process = SchedulerConfiguration(.stableDiffusion)
        if let file {
            configuration = process
            try read(scheduler: SchedulerFile(file), isFile: true)
        } else {
            configuration = process
            (configuration.stepsOffset, configuration.skipsRungeKutta, configuration.endsClean) = (1, true, false)
            (sampler, isOfficial) = (try Samplers.named("pndm"), false)
        }
        configuration.clips = configuration.clips ?? false
        do { _ = try self.process.alphasCumulative() } catch {
            throw DiffError(
                error.code == .invalidArgument ? .format : error.code,
                "\(file?.source ?? "scheduler"): \(error.message)")
        }
    }

    /// The training process.
    var process: DiffusionProcess { configuration.process(sampler.process) }

    /// Whether the model's own sampler clamps clean images.
    var clips: Bool { sampler.clips && configuration.clips ?? sampler.clipsByDefault }

    /// What the conventions say of the timesteps of a run of `steps` steps; nil: the scheduler decides.
    func spacing(steps: Int) -> String? {
        if let sections, sections.steps == steps || steps == 0 { return sections.name }
        return convention
    }

    /// The training process, of a model whose weights learn. Throws `unsupported` when it does not predict epsilon.
    func learnedProcess() throws(DiffError) -> DiffusionProcess {
        let process = process
        guard process.prediction == .epsilon else {
            throw DiffError(
                .unsupported,
                "prediction_type \(process.prediction.rawValue): weights and blocks are learned of models that predict epsilon; such a "
                    + "model can be sampled, and have a router")
        }
        return process
    }

    private mutating func read(diffusion c: JSONObject) throws(DiffError) {
        typealias Schedule = DiffusionProcess.BetaSchedule
        let name = try c.optionalString("schedule", oneOf: Schedule.allCases.map(\.rawValue))
        configuration.betaSchedule = name.flatMap(Schedule.init(rawValue:))
        configuration.betaStart = try c.optionalNumber("beta_start", in: 1e-9...0.999)
        configuration.betaEnd = try c.optionalNumber("beta_end", in: 1e-9...0.999)
        configuration.trainSteps = try c.optionalInteger("train_steps", in: 1...1_000_000)
        let prediction = try c.optionalString("prediction_type", oneOf: PredictionType.allCases.map(\.rawValue))
        configuration.prediction = prediction.flatMap(PredictionType.init(rawValue:))
        configuration.clips = try c.bool("clip_denoised", default: false)
        configuration.clippingRecoversNoise = true
        try read(respacing: c)
    }

    /// The official code's `timestep_respacing`: "250", "ddim50" or "10,15,25".
    private mutating func read(respacing c: JSONObject) throws(DiffError) {
        guard let text = try c.optionalString("respacing"), !text.isEmpty else { return }
        let isStrided = text.hasPrefix("ddim")
        let counts = String(text.dropFirst(isStrided ? 4 : 0)).split(separator: ",", omittingEmptySubsequences: false)
            .map {
                Int($0) ?? 0
            }
        guard counts.allSatisfy({ (1...1_000_000).contains($0) }), counts.count <= 1000, !isStrided || counts.count == 1
        else { throw c.error("respacing", "expected a count, ddimN or counts like \"10,15,25\", found \"\(text)\"") }
        if isStrided {
            convention = "strided"
        } else if counts.count > 1 {
            sections = (text, counts.each.reduce(0) { Checked.sum($0, $1) })
        }
    }

    private mutating func read(scheduler file: SchedulerFile, isFile: Bool) throws(DiffError) {
        isOfficial = false
        let base = configuration
        configuration = try file.configuration(over: base)
        // Without a class the object says what differs from the model's conventions, and a file is DDIM's.
        if let entry = try file.sampler() {
            (sampler, convention, sections) = (entry, nil, nil)
        } else if isFile {
            (convention, sections) = (nil, nil)
        } else {
            if configuration.spacing != nil { (convention, sections) = (nil, nil) }
            configuration.clips = configuration.clips ?? base.clips
            configuration.variance = configuration.variance ?? base.variance
        }
        file.account(for: sampler)
    }
}
