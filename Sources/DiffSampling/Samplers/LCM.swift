import DiffTensor

/// Sampling from a latent consistency model (Luo et al. 2023): each evaluation is a jump to the clean image, noised again for the next.
struct LCMSampler: TransitionSampler, StrengthSpacedSampler {
    static let schedulerClass = "LCMScheduler"
    static let entry = SamplerEntry(
        "lcm", schedulerClass,
        keys: [
            "original_inference_steps", "timestep_scaling", "clip_sample", "clip_sample_range",
            "rescale_betas_zero_snr",
            // Known to the class and without effect there: the timesteps are those the model was distilled on.
            "set_alpha_to_one", "steps_offset", "timestep_spacing",
        ], spacing: .leading, process: .stableDiffusion
    ) { (c, steps, _) throws(DiffError) in
        try LCMSampler(c, steps.counted(by: "lcm"), c.process())
    }

    let transitions: [DiffusionTransition]
    private let configuration: SchedulerConfiguration
    private let prediction: PredictionType
    private let clipping: SampleClipping?
    private let scaling: Double
    var position = 0

    private init(
        _ c: SchedulerConfiguration, _ steps: Int, _ process: DiffusionProcess, strength: Double = 1
    ) throws(DiffError) {
        let timesteps = try Self.timesteps(c.originalSteps ?? 50, steps, process, strength: strength)
        let alphas = try process.alphasCumulative()
        transitions = timesteps.numbered.map { index, t in
            DiffusionTransition(
                timestep: t, alpha: alphas.at(t) ?? 1,
                previous: timesteps.at(index &+ 1).flatMap { alphas.at($0) } ?? 1)
        }
        configuration = c
        (prediction, clipping, scaling) = (process.prediction, c.clipping(default: false), c.timestepScaling ?? 10)
    }

    /// `steps` of the timesteps that the model was distilled on, k · i - 1 for i = count ... 1, at the indices ⌊j · count / steps⌋, where count
    /// is ⌊original · strength⌋: `set_timesteps` of diffusers' class.
    private static func timesteps(
        _ original: Int, _ steps: Int, _ process: DiffusionProcess, strength: Double
    ) throws(DiffError) -> [Int] {
        guard original <= process.trainSteps else {
            throw DiffError(
                .invalidArgument, "original_inference_steps \(original) of \(process.trainSteps) training steps")
        }
        let count = Checked.integer((Double(original) * strength).rounded(.down)) ?? original
        guard (1...max(1, count)).contains(steps), count > 0 else {
            throw DiffError(
                .invalidArgument,
                strength < 1
                    ? "strength \(strength) leaves \(count) of the \(original) timesteps that this consistency model was distilled on "
                        + "(original_inference_steps), fewer than \(steps) steps: take more strength or fewer steps"
                    : "steps must be 1...\(original) for this consistency model (original_inference_steps), found \(steps)"
            )
        }
        let stride = process.trainSteps / max(1, original)
        // As NumPy's linspace computes the indices: for some counts, such as 22 steps of 30, one less than the whole quotient.
        let distance = Double(count) / Double(max(1, steps))
        return Indices(below: steps).map { step in
            let index = Checked.integer((Double(step) * distance).rounded(.down)) ?? 0
            return stride &* (count &- index) &- 1
        }
    }

    func spaced(strength: Double) throws(DiffError) -> any Sampler {
        try LCMSampler(configuration, steps, configuration.process(), strength: strength)
    }

    var name: String { "lcm" }
    var draws: Int { transitions.count &- 1 }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        guard let now = transitions.at(position) else { throw exhausted }
        position &+= 1
        var clean = try now.clean(x, output, prediction, run)
        if let clipping { clean = try clipping.apply(clean, run) }
        // The boundary condition of consistency models: at timestep 0 the state is the image. 0.5 is the data's deviation.
        let (scaled, data) = (scaling * Double(now.timestep), 0.25)
        let sum = scaled * scaled + data
        let denoised = try run.combine(Float(scaled / sum.squareRoot()), clean, Float(data / sum), x)
        guard position < transitions.count else { return SamplerStep(denoised, predictedClean: denoised) }
        let state = try run.combine(
            Float(now.previous.squareRoot()), denoised, Float((1 - now.previous).squareRoot()), draw())
        return SamplerStep(state, predictedClean: denoised)
    }
}
