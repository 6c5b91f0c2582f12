/// What a `scheduler_config.json` of diffusers can say, by its names. What is nil was not said: every sampler has defaults of its own.
public struct SchedulerConfiguration: Sendable, Equatable {
    // MARK: The process

    /// `num_train_timesteps`
    public var trainSteps: Int?
    /// `beta_schedule`
    public var betaSchedule: DiffusionProcess.BetaSchedule?
    /// `beta_start`, `beta_end`
    public var betaStart: Double?, betaEnd: Double?
    /// `trained_betas`
    public var trainedBetas: [Double]?
    /// `rescale_betas_zero_snr`
    public var endsInNoise: Bool?
    /// `prediction_type`
    public var prediction: PredictionType?

    // MARK: The steps

    /// `timestep_spacing`
    public var spacing: SchedulerSpacing?
    /// `steps_offset`
    public var stepsOffset: Int?
    /// `clip_sample`
    public var clips: Bool?
    /// `clip_sample_range`
    public var clipRange: Double?
    /// Whether clamping follows the official DiT's `clip_denoised` rather than `clip_sample`: see ``SampleClipping/recoversNoise``.
    public var clippingRecoversNoise = false
    /// `set_alpha_to_one`: whether the last step of DDIM, PNDM and LCM goes to the clean image rather than to timestep 0.
    public var endsClean: Bool?
    /// `variance_type` of DDPM
    public var variance: DDPMSampler.Variance?

    // MARK: σ

    /// `use_karras_sigmas`, `use_exponential_sigmas`
    public var usesKarrasSigmas: Bool?, usesExponentialSigmas: Bool?
    /// `sigma_min`, `sigma_max` of Euler
    public var sigmaMin: Double?, sigmaMax: Double?
    /// `final_sigmas_type`: whether the last step goes to the least σ of the process rather than to 0.
    public var endsAtSigmaMin: Bool?
    /// `interpolation_type` log_linear of Euler
    public var isLogLinear: Bool?
    /// `timestep_type` continuous of Euler
    public var isContinuous: Bool?

    // MARK: Solvers

    /// `algorithm_type` of DPM++
    public enum Algorithm: String, Sendable, CaseIterable {
        case deterministic = "dpmsolver++"
        case stochastic = "sde-dpmsolver++"
    }

    /// `solver_type` of DPM++ and UniPC; each takes the other's for its own default.
    public enum SolverType: String, Sendable, CaseIterable {
        case midpoint, heun, logrho, bh1, bh2
    }

    /// `algorithm_type`
    public var algorithm = Algorithm.deterministic
    /// `solver_type`
    public var solverType: SolverType?
    /// `solver_order`
    public var solverOrder: Int?
    /// `lower_order_final`
    public var lowersFinalOrder: Bool?
    /// `euler_at_final`
    public var endsInEuler: Bool?
    /// `predict_x0` of UniPC
    public var predictsClean: Bool?
    /// `disable_corrector` of UniPC
    public var uncorrectedSteps: [Int]?
    /// `skip_prk_steps` of PNDM
    public var skipsRungeKutta: Bool?
    /// `original_inference_steps`, `timestep_scaling` of LCM
    public var originalSteps: Int?, timestepScaling: Double?

    /// Nothing said.
    public init() {}

    /// What a model of this process and no scheduler file would have said.
    public init(_ process: DiffusionProcess) { take(process) }

    /// Says all of `process`.
    mutating func take(_ process: DiffusionProcess) {
        (trainSteps, betaSchedule) = (process.trainSteps, process.betaSchedule)
        (betaStart, betaEnd) = (process.betaStart, process.betaEnd)
        (trainedBetas, endsInNoise) = (process.trainedBetas, process.endsInNoise)
        prediction = process.prediction
    }

    /// The process, with what was not said taken from `base`.
    public func process(_ base: DiffusionProcess = .dit) -> DiffusionProcess {
        var process = DiffusionProcess(
            betaSchedule ?? base.betaSchedule, betaStart ?? base.betaStart, betaEnd ?? base.betaEnd,
            trainSteps: trainSteps ?? base.trainSteps)
        process.trainedBetas = trainedBetas ?? base.trainedBetas
        process.endsInNoise = endsInNoise ?? base.endsInNoise
        process.prediction = prediction ?? base.prediction
        return process
    }

    /// Clamping of clean images, for a sampler that has it and whose own default is `fallback`.
    public func clipping(default fallback: Bool) -> SampleClipping? {
        guard clips ?? fallback else { return nil }
        return SampleClipping(range: clipRange ?? 1, recoversNoise: clippingRecoversNoise)
    }
}
