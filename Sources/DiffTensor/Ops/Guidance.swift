import CKernels

extension Run {
    /// Classifier-free guidance of conditional `c` and unconditional `u`, both [n, ...]: u + s (c - u), rounded after each operation.
    ///
    /// A sample is cut into as many equal planes as there are `scales` (channels of [n, channels, h, w]; one for the whole sample). Plane p is
    /// guided by s = `scales[p]`; one without a scale stays that of `c`.
    public func guided(_ c: Tensor, _ u: Tensor, scales: [Float?]) throws(DiffError) -> Tensor {
        try refuseTracked(c, "guidance")
        let samples = c.shape[0]
        let size = c.shape.count / max(1, samples)
        guard c.shape == u.shape, c.shape.rank > 0, !scales.isEmpty, size % max(1, scales.count) == 0 else {
            throw DiffError(.shape, "guidance of \(scales.count) planes of \(c.shape) and \(u.shape)")
        }
        let out = try copy(c)
        guard isLive, let c = unsafe c.floats, let u = unsafe u.floats, let result = unsafe out.floats else {
            return out
        }
        let plane = size / max(1, scales.count)
        var first = 0
        while let scale = scales.at(first) {
            // Neighbours with one scale in one go.
            var end = first &+ 1
            while let next = scales.at(end), next == scale { end &+= 1 }
            if let scale {
                let span = Int64((end &- first) &* plane)
                for sample in Indices(below: samples) {
                    let start: Int = sample &* size &+ first &* plane
                    let (c, u, to) = unsafe (c + start, u + start, result + start)
                    unsafe ck_axpby(nil, 1, c, -1, u, to, span)
                    unsafe ck_axpby(nil, 1, u, scale, to, to, span)
                }
            }
            first = end
        }
        return out
    }

    /// `guided` [n, ...] followed by `u` whose planes with a scale are those of `guided`: [2n, ...], the state of official codes, which carry
    /// both halves along.
    public func guidedHalves(_ guided: Tensor, _ u: Tensor, scales: [Float?]) throws(DiffError) -> Tensor {
        try refuseTracked(guided, "guidance")
        let samples = u.shape[0]
        let size = u.shape.count / max(1, samples)
        guard guided.shape == u.shape, u.shape.rank > 0, !scales.isEmpty, size % max(1, scales.count) == 0 else {
            throw DiffError(.shape, "halves of \(scales.count) planes of \(guided.shape) and \(u.shape)")
        }
        let out = try workspace.take(u.shape.replacingFirst(2 &* samples))
        guard isLive, let from = unsafe guided.floats, let u = unsafe u.floats, let to = unsafe out.floats else {
            return out
        }
        unsafe to.update(from: from, count: guided.shape.count)
        let plane = size / max(1, scales.count)
        for sample in Indices(below: samples) {
            for (index, scale) in scales.numbered {
                let start = sample &* size &+ index &* plane
                let source = unsafe scale == nil ? u + start : from + start
                unsafe (to + (samples &* size &+ start)).update(from: source, count: plane)
            }
        }
        return out
    }

    /// Guided predictions `x` [n, ...] brought nearer to the standard deviation of the conditional ones, `c`: `share` · x · std(c) / std(x) +
    /// (1 - `share`) · x, over the first `elements` of each sample; what follows them (a learned variance) stays.
    ///
    /// Standard deviations are those of torch (divided by the number less one), over all but the first axis, summed in double precision. A
    /// sample without any deviation stays as it is. Source: Lin et al. 2023, arXiv 2305.08891, section 3.4; diffusers' `rescale_noise_cfg`.
    public func rescaled(_ x: Tensor, like c: Tensor, share: Float, elements: Int) throws(DiffError) -> Tensor {
        try refuseTracked(x, "guidance")
        let samples = x.shape[0]
        let size = x.shape.count / max(1, samples)
        guard x.shape == c.shape, x.shape.rank > 0, elements >= 0, elements <= size else {
            throw DiffError(.shape, "\(elements) elements of \(x.shape) rescaled like \(c.shape)")
        }
        let out = try copy(x)
        count(flops: 9 * Double(samples &* elements))
        guard isLive, let c = unsafe c.floats, let to = unsafe out.floats, elements > 1 else { return out }
        for sample in Indices(below: samples) {
            let values = unsafe to + sample &* size
            let wanted = unsafe Self.deviation(c + sample &* size, elements)
            let found = unsafe Self.deviation(values, elements)
            guard found > 0 else { continue }
            let factor = Float(wanted / found)
            for index in Indices(below: elements) {
                let value = unsafe values[index]
                unsafe values[index] = share * (value * factor) + (1 - share) * value
            }
        }
        return out
    }

    /// The corrected standard deviation of `count` > 1 values.
    private static func deviation(_ values: UnsafeMutablePointer<Float>, _ count: Int) -> Double {
        var sum = 0.0
        for index in Indices(below: count) { sum += Double(unsafe values[index]) }
        let mean = sum / Double(max(1, count))
        var squares = 0.0
        for index in Indices(below: count) {
            let distance = Double(unsafe values[index]) - mean
            squares += distance * distance
        }
        return (squares / Double(max(1, count &- 1))).squareRoot()
    }
}
