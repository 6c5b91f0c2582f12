import DiffSampling
import DiffTensor
import Glibc

/// Quantities of a diffusion process at one timestep, rounded to float32 as the official code picks them from its tables.
struct TimestepTerms {
    let isFirst: Bool
    /// √ᾱ, √(1 - ᾱ); 1/√ᾱ and √(1/ᾱ - 1).
    let signal, noise, inverse, inverseNoise: Double
    /// Posterior mean = mean0 x0 + mean1 x_t.
    let mean0, mean1: Double
    /// ln of the posterior variance and of β: the ends of a learned range.
    let minLog, maxLog: Double

    /// `t` must be an index of `schedule`.
    init?(_ schedule: DiffusionSchedule, _ t: Int) {
        guard let product = schedule.alphasCumulative.at(t), let beta = schedule.betas.at(t),
            let mean0 = schedule.posteriorMean0.at(t), let mean1 = schedule.posteriorMean1.at(t),
            let minLog = schedule.posteriorLogVariance.at(t)
        else { return nil }
        func single(_ x: Double) -> Double { Double(Float(x)) }
        isFirst = t == 0
        (signal, noise) = (single(product.squareRoot()), single((1 - product).squareRoot()))
        (inverse, inverseNoise) = (single((1 / product).squareRoot()), single((1 / product - 1).squareRoot()))
        (self.mean0, self.mean1) = (single(mean0), single(mean1))
        (self.minLog, maxLog) = (single(minLog), single(log(beta)))
    }

    /// ln of the variance that the network's value `v` means.
    func logVariance(_ v: Double) -> Double {
        let share = (v + 1) / 2
        return share * maxLog + (1 - share) * minLog
    }
    /// Its derivative with respect to `v`.
    var slope: Double { (maxLog - minLog) / 2 }

    /// Mean of the posterior for a predicted ε.
    func mean(_ x: Double, epsilon: Double) -> Double { mean0 * (inverse * x - inverseNoise * epsilon) + mean1 * x }
}

/// KL( N(m1, e^l1) ‖ N(m2, e^l2) ) in nats, and its derivative with respect to l2.
func gaussianDivergence(_ m1: Double, _ l1: Double, _ m2: Double, _ l2: Double) -> (value: Double, slope: Double) {
    let (ratio, distance) = (exp(l1 - l2), (m1 - m2) * (m1 - m2) * exp(-l2))
    return (0.5 * (-1 + l2 - l1 + ratio + distance), 0.5 * (1 - ratio - distance))
}

/// -ln of the probability that N(mean, e^logVariance) gives the 8-bit level of `x` in -1...1, with the official approximation of the
/// normal distribution function, and its derivative with respect to the log variance.
func levelCost(_ x: Double, mean: Double, logVariance: Double) -> (value: Double, slope: Double) {
    let sharpness = exp(-0.5 * logVariance)
    func distribution(_ z: Double) -> (value: Double, density: Double) {
        let root = (2 / Double.pi).squareRoot()
        let t = tanh(root * (z + 0.044715 * z * z * z))
        return (0.5 * (1 + t), 0.5 * (1 - t * t) * root * (1 + 3 * 0.044715 * z * z))
    }
    let (above, below) = (sharpness * (x - mean + 1 / 255.0), sharpness * (x - mean - 1 / 255.0))
    let (high, low) = (distribution(above), distribution(below))
    let probability: Double, slope: Double
    // d z / d logVariance = -z / 2
    switch x {
    case ..<(-0.999): (probability, slope) = (high.value, high.density * -0.5 * above)
    case 0.999.nextUp...: (probability, slope) = (1 - low.value, low.density * 0.5 * below)
    default:
        (probability, slope) = (high.value - low.value, high.density * -0.5 * above + low.density * 0.5 * below)
    }
    return probability > 1e-12 ? (-log(probability), -slope / probability) : (-log(1e-12), 0)
}
