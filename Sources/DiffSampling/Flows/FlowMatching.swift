public import DiffTensor
import Glibc

/// How a flow-matching model is sampled: what a `scheduler_config.json` of `FlowMatchEulerDiscreteScheduler` says, by its names. States are
/// (1 - σ) data + σ noise, the network is told 1000 σ and predicts noise - data.
public struct FlowMatching: Sendable, Equatable {
    /// How noise levels move with the size of the picture (`use_dynamic_shifting`).
    public struct DynamicShift: Sendable, Equatable {
        /// `base_shift` at `base_image_seq_len` tokens, `max_shift` at `max_image_seq_len`; in between and beyond on the line through both.
        public var base = 0.5, most = 1.15, baseTokens = 256, mostTokens = 4096
        /// `time_shift_type`: whether the shift is the number itself rather than its exponential.
        public var isLinear = false

        /// The usual values.
        public init() {}

        /// What σ are shifted by for a picture of `tokens` tokens.
        func shift(tokens: Int) -> Double {
            let slope = (most - base) / Double(max(1, mostTokens &- baseTokens))
            let number = Double(tokens) * slope + (base - slope * Double(baseTokens))
            return isLinear ? number : exp(number)
        }
    }

    /// How levels are spread between the ends.
    public enum Spread: String, Sendable, CaseIterable {
        /// Evenly before they are shifted.
        case even
        /// `use_karras_sigmas`
        case karras
        /// `use_exponential_sigmas`
        case exponential
    }

    /// `num_train_timesteps`
    public var trainSteps = 1000
    /// `shift`: levels become s σ / (1 + (s - 1) σ), so that more steps are spent on noisy states. 3 in Stable Diffusion 3.
    public var shift = 1.0
    /// In its place where it is not nil.
    public var dynamicShift: DynamicShift?
    /// `shift_terminal`: the last level before 0, to which all are stretched.
    public var terminal: Double?
    /// How levels are spread.
    public var spread = Spread.even
    /// `stochastic_sampling`: new noise in every step.
    public var isStochastic = false

    /// The defaults of the class.
    public init() {}

    /// Levels of `steps` steps, noisiest first, and the 0 that the last step goes to; of a picture of `tokens` tokens where its size counts.
    ///
    /// Rounded to single precision where the reference does so. Throws `invalidArgument` for steps that do not exist, or when the shift
    /// that follows from the size cannot be.
    func grid(_ steps: Int, tokens: Int) throws(DiffError) -> SigmaGrid {
        guard (1...100_000).contains(steps) else {
            throw DiffError(.invalidArgument, "steps must be 1...100000, found \(steps)")
        }
        // The ends have been shifted once already, as the reference keeps them; with a dynamic shift they have not.
        let fixed = Float(dynamicShift == nil ? shift : 1)
        func end(_ sigma: Float) -> Double { Double(fixed * sigma / (1 + (fixed - 1) * sigma)) }
        let (total, most, least) = (Double(max(1, trainSteps)), end(1), end(1 / Float(max(1, trainSteps))))
        let stride = (least * total - most * total) / Double(max(1, steps &- 1))
        let factor = dynamicShift?.shift(tokens: tokens) ?? shift
        var levels = Indices(below: steps).map { index in
            let last = steps > 1 && index == steps &- 1
            return Self.shifted((last ? least * total : most * total + Double(index) * stride) / total, factor)
        }
        if let terminal, let end = levels.last, end < 1 {
            levels = levels.each.map { 1 - (1 - $0) * (1 - terminal) / (1 - end) }
        }
        let (first, last) = (levels.first ?? 1, levels.last ?? 1)
        switch spread {
        case .even: break
        case .karras: levels = SigmaGrid.Spread.karras.levels(steps, from: first, to: last)
        case .exponential: levels = SigmaGrid.Spread.exponential.levels(steps, from: first, to: last)
        }
        guard levels.each.allSatisfy({ $0 > 0 && $0 < 1 + 1e-6 }) else {
            throw DiffError(
                .invalidArgument,
                "the model's scheduler shifts levels of noise out of 0...1 for a picture of \(tokens) tokens: take another size"
            )
        }
        let rounded = levels.each.map { Float($0) }
        var sigmas = rounded.each.map { Double($0) }
        sigmas.append(0)
        return SigmaGrid(sigmas: sigmas, timesteps: rounded.each.map { Double($0 * Float(total)) })
    }

    /// The level that `sigma` becomes.
    private static func shifted(_ sigma: Double, _ shift: Double) -> Double {
        shift * sigma / (1 + (shift - 1) * sigma)
    }
}

/// The samplers of flow-matching models.
public enum FlowMatchMethod: String, Sendable, CaseIterable {
    case euler = "flow_euler"
    case heun = "flow_heun"

    /// The class of diffusers that it is.
    public var schedulerClass: String {
        switch self {
        case .euler: "FlowMatchEulerDiscreteScheduler"
        case .heun: "FlowMatchHeunDiscreteScheduler"
        }
    }

    /// The method called `name`, which may also be a class of diffusers; nil when there is none.
    public init?(named name: String) {
        guard let method = Self.allCases.first(where: { $0.rawValue == name || $0.schedulerClass == name }) else {
            return nil
        }
        self = method
    }

    /// The sampler of a run of `steps` steps for a picture of `tokens` tokens. Throws `invalidArgument` for steps that do not exist,
    /// `unsupported` for noise in the steps of a method that adds none.
    public func sampler(_ process: FlowMatching, steps: Int, tokens: Int) throws(DiffError) -> any Sampler {
        let grid = try process.grid(steps, tokens: tokens)
        switch self {
        case .euler: return FlowMatchEulerSampler(grid: grid, isStochastic: process.isStochastic)
        case .heun:
            guard !process.isStochastic else {
                throw DiffError(
                    .unsupported,
                    "the model's scheduler says stochastic_sampling true, which sampler \(rawValue) does not have; "
                        + "\(Self.euler.rawValue) does")
            }
            return FlowMatchHeunSampler(grid: grid)
        }
    }
}
