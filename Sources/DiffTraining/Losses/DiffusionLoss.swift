public import DiffSampling
public import DiffTensor
import Glibc

/// The training loss of a DiT: mean squared error of ε plus, for a network that learns its variance, the variational bound in bits.
///
/// Source: `GaussianDiffusion.training_losses` of the official DiT with `LossType.MSE` (the bound is not scaled down). The predicted mean
/// is a constant in the bound, so only variance channels learn from it.
public struct DiffusionLoss: Sendable {
    /// The terms of a loss, one number per sample.
    public struct Terms: Sendable {
        /// Mean of (ε - ε̂)², and the bound in bits (0 without variance channels).
        public var mse: [Double], vb: [Double]
        /// The mean over samples of mse + vb.
        public var mean: Double { zip(mse.each, vb.each).reduce(0) { $0 + $1.0 + $1.1 } / Double(max(1, mse.count)) }
    }

    /// The process with all its timesteps.
    public let schedule: DiffusionSchedule

    /// The loss of networks trained for `process`. Throws `invalidArgument`.
    public init(_ process: DiffusionProcess) throws(DiffError) {
        schedule = try DiffusionSchedule(process, .even([process.trainSteps]))
    }

    /// x_t = √ᾱ_t x0 + √(1 - ᾱ_t) noise for [batch, C, h, w] and one t per sample. Throws `shape`, `invalidArgument`.
    public func noised(_ x0: Tensor, _ noise: Tensor, _ t: [Int], _ run: Run) throws(DiffError) -> Tensor {
        let terms = try terms(t, samples: x0.shape[0])
        guard x0.shape == noise.shape else { throw DiffError(.shape, "noise \(noise.shape) for \(x0.shape)") }
        let out = try run.workspace.take(x0.shape)
        guard let x = unsafe x0.floats, let z = unsafe noise.floats, let to = unsafe out.floats else { return out }
        let each = x0.shape.count / max(1, t.count)
        for (sample, term) in terms.numbered {
            let (signal, spread) = (Float(term.signal), Float(term.noise))
            for index in Indices(below: each) {
                let at = sample &* each &+ index
                unsafe to[at] = signal * x[at] + spread * z[at]
            }
        }
        return out
    }

    /// The terms for the network's `output` [batch, C or 2C, h, w] at `xt`, and in `gradient` (shape of the output) the gradient of
    /// `weight` times the mean loss is added. Throws `shape`, `invalidArgument`.
    public func evaluate(
        _ output: Tensor, x0: Tensor, xt: Tensor, noise: Tensor, t: [Int], weight: Double = 1, addingTo gradient: Tensor
    ) throws(DiffError) -> Terms {
        let view = try OutputView(output, like: x0, t.count)
        guard xt.shape == x0.shape, noise.shape == x0.shape, gradient.shape == output.shape else {
            throw DiffError(.shape, "a loss of \(x0.shape), \(xt.shape), \(noise.shape), \(gradient.shape)")
        }
        let steps = try terms(t, samples: x0.shape[0])
        var result = Terms(mse: t.map { _ in 0 }, vb: t.map { _ in 0 })
        guard let out = unsafe output.floats, let g = unsafe gradient.floats, let x = unsafe x0.floats,
            let y = unsafe xt.floats, let z = unsafe noise.floats
        else { return result }
        let share = weight / Double(max(1, view.each &* t.count))
        for (sample, step) in steps.numbered {
            var (mse, vb) = (0.0, 0.0)
            for index in Indices(below: view.each) {
                let (at, position) = (sample &* view.each &+ index, view.epsilon(sample, index))
                let epsilon = unsafe Double(out[position])
                let difference = unsafe epsilon - Double(z[at])
                mse += difference * difference
                unsafe g[position] += Float(2 * difference * share)
                guard let variance = view.variance(sample, index) else { continue }
                let logVariance = unsafe step.logVariance(Double(out[variance]))
                let (clean, noisy) = unsafe (Double(x[at]), Double(y[at]))
                let mean = step.mean(noisy, epsilon: epsilon)
                let cost =
                    step.isFirst
                    ? levelCost(clean, mean: mean, logVariance: logVariance)
                    : gaussianDivergence(step.mean0 * clean + step.mean1 * noisy, step.minLog, mean, logVariance)
                vb += cost.value / M_LN2
                unsafe g[variance] += Float(cost.slope / M_LN2 * step.slope * share)
            }
            result.mse.put(mse / Double(max(1, view.each)), at: sample)
            result.vb.put(vb / Double(max(1, view.each)), at: sample)
        }
        return result
    }

    func terms(_ t: [Int], samples: Int) throws(DiffError) -> [TimestepTerms] {
        guard t.count == samples else { throw DiffError(.shape, "\(t.count) timesteps for \(samples) samples") }
        var terms: [TimestepTerms] = []
        for timestep in t.each {
            guard let term = TimestepTerms(schedule, timestep) else {
                throw DiffError(.invalidArgument, "timestep \(timestep) is outside 0..<\(schedule.count)")
            }
            terms.append(term)
        }
        return terms
    }
}

/// Where ε and variance of a network's output [batch, C or 2C, h, w] lie.
struct OutputView {
    /// C · h · w, and whether variance channels follow.
    let each: Int
    let learnsVariance: Bool

    init(_ output: Tensor, like x: Tensor, _ samples: Int) throws(DiffError) {
        guard output.shape.rank == 4, x.shape.rank == 4, output.shape[0] == samples, x.shape[0] == samples,
            output.shape[2] == x.shape[2], output.shape[3] == x.shape[3],
            output.shape[1] == x.shape[1] || output.shape[1] == 2 &* x.shape[1]
        else { throw DiffError(.shape, "an output of \(output.shape) for states of \(x.shape)") }
        each = x.shape.count / max(1, samples)
        learnsVariance = output.shape[1] != x.shape[1]
    }

    /// Elements of one sample's output.
    var stride: Int { learnsVariance ? 2 &* each : each }
    func epsilon(_ sample: Int, _ index: Int) -> Int { sample &* stride &+ index }
    func variance(_ sample: Int, _ index: Int) -> Int? {
        learnsVariance ? sample &* stride &+ each &+ index : nil
    }
}
