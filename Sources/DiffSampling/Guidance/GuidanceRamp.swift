public import DiffTensor

/// How the scale of guidance changes, over the steps of a run or over the frames of a video.
///
/// Over steps a factor multiplies the distance from the neutral scale, so 0 is no guidance under each formula.
public enum GuidanceRamp: Sendable, Equatable {
    /// One scale for all.
    case none
    /// From no guidance at the first step to all of it at the last, in equal parts: VAR's cfg · i / (K - 1).
    case steps
    /// One factor for each step; a step without one is not guided.
    case factors([Double])
    /// From this scale at the first frame to ``Guidance/scale`` at the last, in equal parts, for predictions [n, frames, channels, h, w]: Stable
    /// Video Diffusion's `min_guidance_scale` ... `max_guidance_scale`.
    case frames(from: Double)

    var isOverFrames: Bool { if case .frames = self { true } else { false } }
    var isOverSteps: Bool { self != .none && !isOverFrames }

    func check() throws(DiffError) {
        let numbers: [Double] =
            switch self {
            case .none, .steps: []
            case .factors(let factors): factors
            case .frames(let first): [first]
            }
        guard numbers.allSatisfy({ $0.isFinite && $0 >= 0 }) else {
            throw DiffError(.invalidArgument, "the ramp of guidance must be of numbers from 0 on, found \(numbers)")
        }
    }

    /// What the scale's distance from the neutral one is multiplied by at `step`; nil: the scale stays as it is, to the last bit.
    func factor(at step: Int, of steps: Int) -> Double? {
        switch self {
        case .none, .frames: nil
        case .steps: Double(step) / Double(max(1, steps &- 1))
        case .factors(let factors): factors.at(step) ?? 0
        }
    }
}

/// The part of a run in which there is guidance, in fractions of its steps: from step ⌊from · steps⌋ on, before step ⌊to · steps⌋.
///
/// The first step is the noisiest. Outside, the conditional prediction stands alone: only conditional rows are evaluated, unless a method may keep
/// outputs. Then both are, since what is kept of unconditional rows must be as old as that of the others.
/// Sources: Kynkäänniemi et al. 2024, arXiv 2404.07724; the steps are those of `start` and `stop` of diffusers' guiders.
public struct GuidanceInterval: Sendable, Equatable {
    /// Fractions of the run, 0 ... 1.
    public let from: Double, to: Double

    /// All of the run.
    public static let always = GuidanceInterval()

    private init() { (from, to) = (0, 1) }

    /// The part between two fractions. Throws `invalidArgument` unless 0 ≤ `from` ≤ `to` ≤ 1.
    public init(from: Double, to: Double) throws(DiffError) {
        guard from >= 0, from <= to, to <= 1 else {
            throw DiffError(
                .invalidArgument,
                "guidance_interval must be two fractions of the run, 0 ≤ from ≤ to ≤ 1, found [\(from), \(to)]")
        }
        (self.from, self.to) = (from, to)
    }

    /// Whether `step` of `steps` is inside.
    func contains(_ step: Int, of steps: Int) -> Bool {
        guard self != .always else { return true }
        // Fractions of a number of steps, so both fit.
        let (first, end) = (
            Checked.integer((from * Double(steps)).rounded(.down)), Checked.integer((to * Double(steps)).rounded(.down))
        )
        return step >= first ?? 0 && step < end ?? steps
    }
}
