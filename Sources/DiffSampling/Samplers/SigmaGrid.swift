import DiffTensor
import Glibc

/// The noise levels of a sampler on σ = √((1 - ᾱ) / ᾱ), and the timesteps that stand for them.
struct SigmaGrid: Sendable {
    /// How levels are spread between the ends.
    enum Spread: String, Sendable, CaseIterable {
        /// At the timesteps of the spacing.
        case timesteps
        /// Evenly in the seventh root: ρ = 7 in equation 5 of Karras et al. 2022, which spends more steps near the clean end.
        case karras
        /// Evenly in the logarithm.
        case exponential
        /// Evenly in the logarithm over the whole table; the timesteps stay those of the spacing.
        case logLinear
    }

    /// Levels of every step, noisiest first, and the one that the last step goes to.
    let sigmas: [Double]
    /// What the network is told at each level.
    let timesteps: [Double]

    /// The number of steps.
    var steps: Int { timesteps.count }
    /// The level before and after step `step`.
    func interval(_ step: Int) -> (Double, Double) { (sigmas.at(step) ?? 0, sigmas.at(step &+ 1) ?? 0) }

    /// What noise at the beginning is multiplied by (`init_noise_sigma`): √(1 + σ²), the deviation of a state at σ, for `leading`; σ alone for
    /// the others, as diffusers does. `leading` starts at a smaller σ, where the difference is larger.
    func initialScale(_ spacing: SchedulerSpacing) -> Double {
        let most = sigmas.max() ?? 1
        return spacing == .leading ? (most * most + 1).squareRoot() : most
    }
}

/// σ of every training timestep, and the way back.
struct SigmaTable: Sendable {
    /// Ascending.
    let sigmas: [Double]
    private let logs: [Double]

    /// The table of `process`. Its noisiest level is finite: where ᾱ ends at 0 it is set to 2⁻²⁴, as in diffusers, which makes σ 4096.
    init(_ process: DiffusionProcess) throws(DiffError) {
        var alphas = try process.alphasCumulative()
        if process.endsInNoise { alphas.put(0x1p-24, at: alphas.count &- 1) }
        sigmas = alphas.each.map { ((1 - $0) / $0).squareRoot() }
        logs = sigmas.each.map { log($0) }
    }

    var first: Double { sigmas.first ?? 1 }
    var last: Double { sigmas.last ?? 1 }

    /// σ between the two nearest timesteps, linearly: `np.interp` of the reference.
    func sigma(at timestep: Double) -> Double {
        let low = min(max(0, Checked.integer(timestep.rounded(.down)) ?? 0), sigmas.count &- 1)
        let (a, b) = sigmas.pair(at: low)
        return a + (timestep - Double(low)) * (b - a)
    }

    /// The fractional timestep at which ln σ stands among the logarithms of the table, which is ascending: `_sigma_to_t` of diffusers. σ is
    /// kept above 1e-10 for the logarithm, and the weight within 0...1, so that σ beyond the table's ends gets the end's timestep.
    func timestep(of sigma: Double) -> Double {
        let wanted = log(max(sigma, 1e-10))
        let low = logs.lastPosition { $0 <= wanted }
        let (a, b) = logs.pair(at: low)
        let weight = a == b ? 0 : (a - wanted) / (a - b)
        return Double(low) + min(max(weight, 0), 1)
    }
}

/// `count` levels from `most` down to `least`, evenly spaced after `curve`.
private func spread(
    _ count: Int, from most: Double, to least: Double, _ curve: (Double) -> Double, back: (Double) -> Double
) -> [Double] {
    let (a, b) = (curve(most), curve(least))
    return Indices(below: count).map { back(a + Double($0) / Double(max(1, count &- 1)) * (b - a)) }
}

extension SigmaGrid.Spread {
    /// `count` levels from `most` down to `least`.
    func levels(_ count: Int, from most: Double, to least: Double) -> [Double] {
        switch self {
        case .karras: spread(count, from: most, to: least, { pow($0, 1 / 7) }, back: { pow($0, 7) })
        default: spread(count, from: most, to: least, { log($0) }, back: { exp($0) })
        }
    }
}
