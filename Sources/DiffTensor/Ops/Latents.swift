import Glibc

// What lies between the latents of an autoencoder and those of a diffusion model: few numbers, so one thread.

extension Run {
    /// factors[c] x + shifts[c] for every channel c of [batch, channels, h, w], the product and the sum rounded. Throws `shape`.
    public func scaledChannels(
        _ x: Tensor, by factors: [Float], adding shifts: [Float]
    ) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a change of scale by channel")
        guard x.shape.rank == 4, factors.count == x.shape[1], shifts.count == factors.count else {
            throw DiffError(
                .shape, "\(factors.count) factors and \(shifts.count) shifts for the channels of \(x.shape)")
        }
        let out = try workspace.take(x.shape)
        count(flops: 2 * Double(x.shape.count))
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return out }
        let area = x.shape[2] &* x.shape[3]
        for plane in Indices(below: x.shape[0] &* x.shape[1]) {
            let channel = plane % max(1, x.shape[1])
            let (factor, shift) = (factors.at(channel) ?? 1, shifts.at(channel) ?? 0)
            for i in Indices(below: area) {
                let at = plane &* area &+ i
                unsafe to[at] = from[at] * factor + shift
            }
        }
        return out
    }

    /// means + exp(logVariances / 2) noise, all of one shape: a sample of a distribution. Throws `shape`.
    public func gaussianSample(
        _ means: Tensor, _ logVariances: Tensor, _ noise: Tensor
    ) throws(DiffError) -> Tensor {
        for tensor in [means, logVariances, noise] { try refuseTracked(tensor, "a sample of a distribution") }
        guard logVariances.shape == means.shape, noise.shape == means.shape else {
            throw DiffError(
                .shape, "noise \(noise.shape) for means \(means.shape) and variances \(logVariances.shape)")
        }
        let out = try workspace.take(means.shape)
        count(flops: 6 * Double(means.shape.count))
        guard isLive, let mean = unsafe means.floats, let log = unsafe logVariances.floats,
            let z = unsafe noise.floats, let to = unsafe out.floats
        else { return out }
        for i in Indices(below: means.shape.count) { unsafe to[i] = mean[i] + expf(0.5 * log[i]) * z[i] }
        return out
    }

    /// bound · tanh(x / bound): nearly x where x is small, and never beyond the bound.
    public func softlyBounded(_ x: Tensor, by bound: Float) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a soft bound")
        let out = try workspace.take(x.shape)
        count(flops: 8 * Double(x.shape.count))
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return out }
        for i in Indices(below: x.shape.count) { unsafe to[i] = tanhf(from[i] / bound) * bound }
        return out
    }
}
