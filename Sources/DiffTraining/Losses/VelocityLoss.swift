public import DiffSampling
public import DiffTensor

/// The training loss of a flow that predicts velocities: the mean squared difference from the path's own velocity.
///
/// A state at time t is α(t) data + σ(t) noise, its velocity α'(t) data + σ'(t) noise: on the linear path data - noise. Source: `Transport`
/// of SiT (arXiv 2401.08740), `training_losses`.
public struct VelocityLoss: Sendable {
    /// How data and noise are mixed.
    public let path: FlowPath

    /// The loss on `path`.
    public init(_ path: FlowPath = .linear) { self.path = path }

    /// The states at `t`, one time 0 ... 1 for each sample of `data` and `noise` [n, C, h, w]. Throws `shape`.
    public func state(_ data: Tensor, _ noise: Tensor, t: [Float], _ run: Run) throws(DiffError) -> Tensor {
        try mixed(data, noise, t, run) { ($0.alpha, $0.sigma) }
    }

    /// What the network should say there.
    public func velocity(_ data: Tensor, _ noise: Tensor, t: [Float], _ run: Run) throws(DiffError) -> Tensor {
        try mixed(data, noise, t, run) { ($0.alphaSlope, $0.sigmaSlope) }
    }

    /// The error of each sample for the network's `output` [n, C, h, w], and the gradient of their mean with respect to it. Throws `shape`.
    public func evaluate(
        _ output: Tensor, data: Tensor, noise: Tensor, t: [Float], _ run: Run
    ) throws(DiffError) -> (errors: [Double], gradient: Tensor) {
        let target = try velocity(data, noise, t: t, run)
        let each = target.shape.count / max(1, t.count)
        return try run.squaredError(output, target, divisor: each, weight: 1 / Double(max(1, target.shape.count)))
    }

    private func mixed(
        _ data: Tensor, _ noise: Tensor, _ t: [Float], _ run: Run,
        _ shares: ((alpha: Double, sigma: Double, alphaSlope: Double, sigmaSlope: Double)) -> (Double, Double)
    ) throws(DiffError) -> Tensor {
        guard data.shape == noise.shape, data.shape.rank == 4, data.shape[0] == t.count else {
            throw DiffError(.shape, "noise \(noise.shape) and \(t.count) times for \(data.shape)")
        }
        let out = try run.workspace.take(data.shape)
        guard let x = unsafe data.floats, let z = unsafe noise.floats, let to = unsafe out.floats else { return out }
        let each = data.shape.count / max(1, t.count)
        for (sample, time) in t.numbered {
            let (ofData, ofNoise) = shares(path.at(Double(time)))
            for index in Indices(below: each) {
                let at = sample &* each &+ index
                unsafe to[at] = Float(ofData) * x[at] + Float(ofNoise) * z[at]
            }
        }
        return out
    }
}
